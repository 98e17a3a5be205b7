"""Faults done to a finished project, and what is left of it after one `dvc repro`."""
