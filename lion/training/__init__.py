"""Imitation: the teacher's answers, and the fine-tuning of the student on them."""
