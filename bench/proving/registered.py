"""What the test of the mechanism runs and compares, settled before its first run.

The seeds 511 to 520 were never run before the commit that brought this file; whatever was tuned
was tuned on `frozen.TUNING_SEEDS`. A result holds this file's SHA-256; the report leaves results
of another one out, and prints the file's last commit, so that a change after the fact shows.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proving.arms import Arm, Comparison, Sizes

SEEDS = tuple(range(511, 521))

REGIMES = {
    # the landed test: any further step pays; base and iterations have one rate
    "undertrained": Sizes(4_000, 300, 800, 400, 220, 1_000, later_rate=1.0),
    # the base at its plateau, as the paper's: three tenths of the base's rate afterwards
    "trained": Sizes(12_000, 2_500, 1_400, 700, 400, 1_500, later_rate=0.3),
}
SKEWS = (1.3, 0.0, 0.65)  # a family's weight in the base pool is 1 / rank ^ skew

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "review": {"ifd": False, "audited_rows": 0, "samples": 1, "limit": None, "same_answer": "ask"},
    "split": {"hard_share": 0.3, "uniform_share": 0.1, "tau_noise": 0.0},
    "generate": {"novelty": 0.995, "per_parent": 50, "max_descendants": None, "min_words": 4},
    "tune": {
        "optimizer": "muon",
        "learning_rate": 0.005,
        "matrix_learning_rate": 0.009,
        "schedule": "cosine",
        "warmup": 0.03,
        "epochs": None,
        "batch_size": 32,
        "max_length": 256,
        "replay": 1.0,
        "validation_share": 0.0,
    },
}
"""What decides in every arm, over profiles/default.yaml, which may change."""

LIKELIHOOD = Arm("likelihood", "adversarial", "likelihood", measured=True)
PRIMARY = LIKELIHOOD
ONE_WAY = Arm("one-way", "uniform")
SAME_MIX = Arm("same mix", "uniform-mixed")
BALANCED = Arm("balanced", "balanced")
FRUGAL = Arm("frugal", "adversarial", frugal=True)  # by the noisy referee
SCORER = Arm("scorer", "adversarial", "scorer")
PROGRESS = Arm(
    "likelihood progress",
    "adversarial",
    "likelihood",
    choice="progress",
    replay_choice="forgotten",
)

PLAIN = (ONE_WAY, SAME_MIX, BALANCED)
FIRST = (PRIMARY, ONE_WAY, SAME_MIX, ONE_WAY.at_spend(PRIMARY), SAME_MIX.at_spend(PRIMARY))
"""The primary comparisons: at equal spend with steps scaled, which favours the plain arms."""
OTHERS = (BALANCED, FRUGAL, SCORER, PROGRESS)
SPEND = (
    BALANCED.at_spend(PRIMARY),
    *(arm.at_spend(PRIMARY, fixed_steps=True) for arm in PLAIN),
    *(arm.at_spend(PRIMARY, "long") for arm in PLAIN),
    *(arm.at_spend(FRUGAL) for arm in PLAIN),
    *(arm.at_spend(FRUGAL, "long", fixed_steps=True) for arm in PLAIN),
)
TAU = tuple(
    Arm(f"frugal tau {tau:g}", "adversarial", frugal=True, tau=tau) for tau in (0.5, 1.5, 2.0)
)
LONG = tuple(
    Arm(
        f"{arm.name} 12 iterations",
        arm.feedback,
        arm.judge,
        choice=arm.choice,
        replay_choice=arm.replay_choice,
        iterations=12,
    )
    for arm in (PRIMARY, PROGRESS, ONE_WAY)
)
GROUPS: dict[str, tuple[Arm, ...]] = {
    "first": FIRST,
    "others": OTHERS,
    "spend": SPEND,
    "tau": TAU,
    "long": LONG,
}
ARMS = {arm.name: arm for group in GROUPS.values() for arm in group}

PRIMARY_COMPARISONS = tuple(Comparison(PRIMARY, arm) for arm in FIRST[3:])
"""Trained regime, skew 1.3: above zero with their intervals; at skew 0 not below zero beyond it."""
COMPARISONS = (
    *PRIMARY_COMPARISONS,
    *(Comparison(ours, arm) for ours in (PRIMARY, *OTHERS[1:]) for arm in PLAIN),
    *(Comparison(PRIMARY, arm) for arm in SPEND if arm.spend_of == PRIMARY.name),
    *(Comparison(FRUGAL, arm) for arm in SPEND if arm.spend_of == FRUGAL.name),
    *(Comparison(arm, PRIMARY) for arm in (FRUGAL, SCORER, PROGRESS)),
    *(Comparison(arm, FRUGAL) for arm in TAU),
    *(Comparison(arm, LONG[2]) for arm in LONG[:2]),
)


def digest() -> str:
    """Return the first 16 hexadecimal digits of this file's SHA-256."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
