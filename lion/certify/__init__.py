"""What a student may answer alone: scores, certified thresholds, decisions, and money."""
