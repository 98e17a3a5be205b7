"""Measures what frugal judging saves, and what it changes: verdicts and students, both sides.

    python bench/judging.py                              # profile ci, two iterations, three seeds
    python bench/judging.py --profile default --iterations 3 --seeds 41,42

Needs the extra `test`.

The first takes 5 to 7 minutes a seed and shows the verdicts; its students are too small to gain
from the loop, so the second, of about ten minutes a seed, is the one that compares students.

Every run judges with a referee whose scores err, by lot of a seed: `oracle-1-noisy` (deviation 1,
the first place worth 0.5) or `oracle-1-rough` (3 and 1.5). Two tables:

verdicts    the finished run's own responses, judged again under each saving: reviews asked for
            (distinct requests: of a same answer both orders are one), and the share of the rows
            judged whose verdict is that of full judging. `full, another seed` is full judging
            against itself: what the noise allows.
students    the loop run again under all savings, from the same base: the last student of both.

The last line is one JSON object: {"name", "ours", "others", "ratio", "unit"}; the ratio is full
judging's reviews over frugal judging's. A claim that is missed prints MISSED; the exit status is 0.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from msgspec.structs import asdict

from lion.metrics.exams import EvaluateMetrics
from lion.metrics.judging import AgreementMetrics, ReviewMetrics

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pipeline import Project

NOISY, ROUGH = "oracle-1-noisy", "oracle-1-rough"
FULL: Mapping[str, Any] = {}
LEAST_RATIO, LEAST_AGREEMENT = 4.0, 0.97
_STAGES = ("stages.review", "stages.split")


class Percents(NamedTuple):
    """A figure and its interval, in per cent."""

    value: float
    low: float
    high: float


class Student(NamedTuple):
    """A student's exam, in per cent; `gain` is in points of accuracy over the base's student."""

    accuracy: Percents
    quality: Percents
    gain: float


@dataclass
class Arm:
    """One way to judge, over all seeds and iterations."""

    name: str
    referee: str
    changes: Mapping[str, Any]
    reviews: int = 0
    rows: int = 0
    same: int = 0
    audit: Counter[str] = field(default_factory=Counter)

    @property
    def agreement(self) -> float:
        """The share of verdicts that are those of full judging."""
        return self.same / self.rows


def arms(limit: int) -> dict[str, list[Arm]]:
    """Return the ways to judge under each referee, full judging first."""
    sample = {"review.limit": limit, "review.uncertain_weight": 3.0}
    margin = {"review.second_order_margin": 2.0}
    unasked = {"review.same_answer": "skip"}
    frugal = {**sample, **margin, **unasked, "review.audit_rate": 0.1}
    ways = {"full": FULL, "full, another seed": {"random_seed": 1_000_003}}
    single = {"same answers unasked": unasked, "one order far from tau": margin, "sample": sample}
    return {
        NOISY: [
            Arm(name, NOISY, way) for name, way in {**ways, **single, "frugal": frugal}.items()
        ],
        ROUGH: [Arm(name, ROUGH, way) for name, way in {**ways, "frugal": frugal}.items()],
    }


def finish(project: Project) -> None:
    """Run `dvc repro`; end the measurement where it fails."""
    run = project.repro()
    if run.code != 0:
        sys.exit(f"dvc repro failed in {project.root}:\n{run.output[-3000:]}")


def full_run(root: Path, options: argparse.Namespace, seed: int) -> Project:
    """Return a finished run in which everything is judged in both orders."""
    project = Project.of_working_tree(root, options.profile, threads=None)
    project.edit({"random_seed": seed, "referee.model": NOISY})
    have = len(project.settings()["iterations"])
    for number in range(have + 1, options.iterations + 1):
        project.append_iteration(str(number), str(number - 1))
    project.commit()
    finish(project)
    return project


def judge(project: Project, arm: Arm, keys: Sequence[str]) -> list[dict[str, str]]:
    """Judge the project's responses anew; return the verdicts of each iteration by id."""
    project.edit({"referee.model": arm.referee, **arm.changes})
    verdicts = []
    for key in keys:
        for module in _STAGES:
            run = project.run(module, key)
            if run.code != 0:
                sys.exit(f"{module} {key} failed in {project.root}:\n{run.output[-3000:]}")
        arm.reviews += project.metrics(key, ReviewMetrics).used["referee"].requests
        arm.audit.update(asdict(project.metrics(key, AgreementMetrics).audit))
        rows = project.rows(f"{key}/verdicts.jsonl")
        verdicts.append({row["id"]: row["difficulty"] for row in rows})
    return verdicts


def compare(project: Project, ways: Mapping[str, list[Arm]], folder: Path) -> None:
    """Judge one run's responses under every arm, and count where full judging says the same."""
    keys = list(project.settings()["iterations"])
    for referee, group in ways.items():
        truth: list[dict[str, str]] = []
        for arm in group:
            place = folder / f"{project.root.name}.{referee}.{arm.name}"
            found = judge(project.copy(place), arm, keys)
            truth = truth or found
            for full, ours in zip(truth, found, strict=True):
                arm.rows += len(ours)
                arm.same += sum(full[identity] == kind for identity, kind in ours.items())


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a head, columns aligned."""
    lines = [[*map(str, head)], *([*map(str, row)] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def told(arm: Arm, full: Arm) -> list[object]:
    """Return an arm's row of the table of verdicts."""
    audited = f"{arm.audit['agreeing']} of {arm.audit['audited']}" if arm.audit["audited"] else "-"
    return [
        arm.referee,
        arm.name,
        arm.reviews,
        f"{full.reviews / arm.reviews:.2f}",
        arm.rows,
        f"{100 * arm.agreement:.1f} %",
        audited,
    ]


def student(project: Project) -> Student:
    """Return the exam of the last student, and the gain over the base's."""
    keys = list(project.settings()["iterations"])
    exam = project.metrics(keys[-1], EvaluateMetrics)
    before = project.metrics("0", EvaluateMetrics).accuracy_share
    assert exam.accuracy_share is not None and before is not None
    accuracy, quality = exam.accuracy_interval, exam.quality_interval
    assert accuracy is not None and accuracy.bounds is not None
    assert exam.quality_percent is not None and quality is not None and quality.bounds is not None
    return Student(
        accuracy=Percents(100 * exam.accuracy_share, *(100 * one for one in accuracy.bounds)),
        quality=Percents(exam.quality_percent, *quality.bounds),
        gain=100 * (exam.accuracy_share - before),
    )


def spread(found: Percents) -> str:
    """Return a figure with its interval."""
    return f"{found.value:.1f} ({found.low:.1f} to {found.high:.1f})"


def inside(full: Sequence[Percents], ours: Sequence[Percents]) -> bool:
    """Tell whether the mean of ours lies in the mean interval of full judging's."""
    low, high = fmean(one.low for one in full), fmean(one.high for one in full)
    return low <= fmean(one.value for one in ours) <= high


def main() -> None:
    """Measure what the arguments name."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="lion-judging-") as made:
        measure(options, Path(made))


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Run both sides for every seed, and print."""
    ways: dict[str, list[Arm]] = {}
    full: list[Student] = []
    ours: list[Student] = []
    for seed in options.seeds:
        project = full_run(folder / str(seed), options, seed)
        ways = ways or arms(project.settings()["respond"]["limit"] // 4)
        again = project.copy(folder / f"{seed}.again")
        again.edit(ways[NOISY][-1].changes)
        finish(again)
        full.append(student(project))
        ours.append(student(again))
        compare(project, ways, folder)
        print(f"seed {seed} is measured", file=sys.stderr, flush=True)
    report(options.seeds, ways, full, ours)


def report(
    seeds: Sequence[int],
    ways: Mapping[str, list[Arm]],
    full: Sequence[Student],
    ours: Sequence[Student],
) -> None:
    """Print both tables, whether the claims held, and the line of JSON."""
    head = ["referee", "judging", "reviews", "fewer", "rows", "same verdict", "audited agree"]
    table(head, [told(arm, group[0]) for group in ways.values() for arm in group])
    print()
    rows = [
        [
            seed,
            name,
            spread(exam.accuracy),
            f"{exam.gain:+.1f}",
            spread(exam.quality),
        ]
        for seed, *pair in zip(seeds, full, ours, strict=True)
        for name, exam in zip(("full", "frugal"), pair, strict=True)
    ]
    table(["seed", "judging", "last student's accuracy %", "gain", "quality %"], rows)
    print()
    everything, frugal = ways[NOISY][0], ways[NOISY][-1]
    ratio = everything.reviews / frugal.reviews
    claims = {
        f"at least {LEAST_RATIO:g} x fewer reviews": ratio >= LEAST_RATIO,
        f"agreement of {LEAST_AGREEMENT:.0%} or more": frugal.agreement >= LEAST_AGREEMENT,
        "mean accuracy in full judging's interval": inside(
            [one.accuracy for one in full], [one.accuracy for one in ours]
        ),
        "mean quality in full judging's interval": inside(
            [one.quality for one in full], [one.quality for one in ours]
        ),
    }
    for claim, held in claims.items():
        print(f"{claim}: {'held' if held else 'MISSED'}")
    figures = {"ours": frugal.reviews, "others": everything.reviews, "ratio": round(ratio, 2)}
    print(json.dumps({"name": "judging", **figures, "unit": "reviews asked for"}))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", choices=("ci", "default", "lab"), default="ci")
    parser.add_argument("--iterations", type=int, default=2, help="at least so many")
    parser.add_argument("--seeds", type=numbers, default=(41, 42, 43), help="with commas")
    return parser.parse_args()


def numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers with commas."""
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main()
