"""Filters of candidates, each a pure function of a text and what is known: one reason each."""
