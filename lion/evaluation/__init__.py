"""Exams: the loop's own, open-ended ones, BBH and AGIEval; items, answers, figures."""
