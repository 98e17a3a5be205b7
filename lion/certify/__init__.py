"""What a student may answer alone: scores, certified thresholds, decisions, and money."""

from lion.certify.decision import decide

__all__ = ["decide"]
