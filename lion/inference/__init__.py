"""Inference: the student's responses, by itself or by its server, and its likelihoods."""
