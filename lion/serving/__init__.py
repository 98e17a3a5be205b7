"""A student after distillation: export, delta, server, chat."""
