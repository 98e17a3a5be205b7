"""Folders of trials: what the projects of a bench were edited by."""
