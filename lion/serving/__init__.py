"""A student in use: exported, served, or talked to."""
