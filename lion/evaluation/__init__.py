"""Exams of students: the user's own, open-ended ones, BBH and AGIEval."""
