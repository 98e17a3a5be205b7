"""Discrimination: the student sits the Cache Pool, the referee finds where it falls short."""
