"""Rows in files: every kind as a struct, read and written by line."""
