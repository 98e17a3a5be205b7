"""Filters of candidates: usability, novelty, near duplicates, overlap with exams, safety."""
