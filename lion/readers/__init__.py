"""Readers of users' files and of the official files of exams."""
