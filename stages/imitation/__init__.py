"""Imitation: the teacher answers the Train Pool, the student is tuned on the answers."""
