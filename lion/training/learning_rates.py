"""Learning rates of AdamW that suit a pretrained student, by its size and the method. Pure.

A line through two points in logarithms: 1e-4 for 135 million parameters (measured by this project)
and 2e-5 for 7 billion (the paper's). Adapters take ten times as much (Schulman et al., LoRA Without
Regret, 2025).
"""

from math import log
from typing import Literal

_SMALL, _SMALL_RATE = 135e6, 1e-4
_LARGE, _LARGE_RATE = 7e9, 2e-5
_POWER = log(_LARGE_RATE / _SMALL_RATE) / log(_LARGE / _SMALL)
_OF_ADAPTERS = 10.0


def usual_rate(parameters: int, method: Literal["full", "lora", "qlora"]) -> float:
    """Return the usual peak learning rate of AdamW for so many parameters."""
    rate: float = _SMALL_RATE * (parameters / _SMALL) ** _POWER
    return rate if method == "full" else _OF_ADAPTERS * rate
