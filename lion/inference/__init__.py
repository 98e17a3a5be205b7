"""Inference: the student's responses, by its own checkpoint or by the server that holds it."""
