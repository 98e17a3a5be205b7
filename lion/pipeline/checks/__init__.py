"""Checks before a run: problems found before anything is spent or removed."""
