"""Measures whether calibration finds the errors that were planted, and what two orders recover.

    python bench/calibration.py                       # half a minute of one core
    python bench/calibration.py --rows 5000 --seed 3

The embedded referee judges tasks of its own families in both orders; its scores err by noise (the
deviation of one score) and by points for the first place. Each line compares, for one such temper,
what the reviews show with the law that follows from the true scores (tests/judges.py):

flips       the share of rows whose better side depends on the order
recovered   the share whose verdict, by the mean of both orders, is that of a referee without errors
one order   the same by one order alone; the larger one where many true gaps are tau itself and the
            teacher's score is cut at 10: their mean gaps lie a little below tau
bias, noise points that the first place is worth, and the deviation of the mean gap

The last line is one JSON object: {"name", "ours", "others", "ratio", "unit"}; the ratio is the
share recovered over the law's. A claim that is missed prints MISSED; the exit status is 0.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import judges
from judges import Measured

from lion import statistics
from lion.simulator.simulated_llm import MODELS, Temper

_TAU = 1.0
_CONFIDENCE = 0.99  # of each interval; there are two a line
TEMPERS = (
    Temper(noise=0.5),
    MODELS["oracle-1-noisy"],
    Temper(noise=1.0, position_bias=2.0),
    Temper(noise=2.0, position_bias=0.5),
    MODELS["oracle-1-rough"],
)


def interval(count: int, rows: int) -> tuple[float, float]:
    """Return Wilson's interval of a share."""
    found = statistics.accuracy([number < count for number in range(rows)], _CONFIDENCE)
    assert found is not None and found.low is not None and found.high is not None
    return found.low, found.high


def held(found: Measured) -> tuple[bool, bool]:
    """Tell whether the flips are the planted ones, and whether as much as the law is recovered."""
    low, high = interval(found.flips, found.rows)
    _, most = interval(found.recovered, found.rows)
    return low <= found.expected.flip <= high, found.expected.recovered <= most


def told(temper: Temper, found: Measured) -> str:
    """Return one line of the table: ours, and the law's in brackets."""
    law, rows = found.expected, found.rows
    pairs = (
        ("flips", 100 * found.flips / rows, 100 * law.flip),
        ("recovered", 100 * found.recovered / rows, 100 * law.recovered),
        ("one order", 50 * found.one_order / rows, 100 * law.one_order),
        ("bias", found.bias, law.bias),
        ("noise", found.noise, judges.planted_noise(found)),
    )
    figures = ", ".join(f"{name} {ours:.2f} ({theirs:.2f})" for name, ours, theirs in pairs)
    marks = " ".join("held" if one else "MISSED" for one in held(found))
    return f"noise {temper.noise:g}, first place {temper.position_bias:+g}: {figures}: {marks}"


def main() -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = judges.answers(options.rows, options.seed)
    found = [judges.measured(rows, temper, options.seed, _TAU) for temper in TEMPERS]
    for temper, one in zip(TEMPERS, found, strict=True):
        print(told(temper, one))
    marks = [held(one) for one in found]
    for number, claim in enumerate(("planted flip rate in the interval", "recovers the law's")):
        print(f"{claim}: {'held' if all(mark[number] for mark in marks) else 'MISSED'}")
    ours = fmean(one.recovered / one.rows for one in found)
    law = fmean(one.expected.recovered for one in found)
    figures = {"ours": round(ours, 4), "others": round(law, 4), "ratio": round(ours / law, 4)}
    print(json.dumps({"name": "calibration", **figures, "unit": "share of verdicts recovered"}))


if __name__ == "__main__":
    main()
