"""docs/evidence/results.md from the results of the arms: means, spreads, paired differences."""

import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from lion import statistics
from proving import differences, frozen, money, registered, summary
from proving.arms import Comparison
from proving.differences import Difference, difference
from proving.registered import (
    ARMS,
    COMPARISONS,
    GROUPS,
    LONG,
    ONE_WAY,
    PRIMARY,
    PRIMARY_COMPARISONS,
    REGIMES,
    SAME_MIX,
    SKEWS,
)
from proving.results import Results

PLOTS = {
    "primary.svg": "The likelihood less one-way and less the same mix, equal spend, by skew",
    "differences.svg": "Paired differences with their intervals",
    "money.svg": "Accuracy against cents spent, a curve an arm",
}
"""Files of plots/ beside the report (see `plots`), and what they show."""
_NOT_REGISTERED = (Comparison(SAME_MIX, ONE_WAY),)
"""What the prompt for a rarer task adds: both arms draw any parent."""
_FILE = Path(registered.__file__)
Panel = tuple[str, float]
"""A regime and a skew."""


def write(results: Results, path: Path) -> dict[str, Any]:
    """Write the report, which shows the files of `PLOTS`; return the line that ends the bench."""
    first, *figures = (f"![{shown}](plots/{name})\n" for name, shown in PLOTS.items())
    parts = [summary.opening(results), first, summary.pretrained(), _how(results), *figures]
    for regime, skew in panels(results):
        parts += [f"## {regime.capitalize()} base, skew {skew:g}\n", _arms(results, regime, skew)]
        parts += [_differences(results, regime, skew), _areas(results, regime, skew)]
        parts.append(_long(results, regime, skew))
    parts.append(_missing(results))
    path.write_text("\n".join(part for part in parts if part), encoding="utf-8")
    return _line(results)


def panels(results: Results) -> list[Panel]:
    """Return the regimes and skews of which there are results."""
    ran = {(regime, skew) for regime, skew, _ in results}
    return [
        (regime, skew) for regime in reversed(REGIMES) for skew in SKEWS if (regime, skew) in ran
    ]


def commit() -> str:
    """Return the last commit of the registration with its date, from git's log."""
    command = ["git", "log", "-1", "--format=%h of %cI", "--", _FILE.name]
    shown = subprocess.run(command, cwd=_FILE.parent, capture_output=True, text=True, check=True)
    return shown.stdout.strip() or "not committed"


def _how(results: Results) -> str:
    regimes = "; ".join(
        f"*{name}*: {sizes.pool:,} rows and {sizes.base_steps:,} steps, then {sizes.hard:,} + "
        f"{sizes.easy} new rows and {sizes.steps} steps an iteration at {sizes.later_rate:g} of "
        "the base's learning rates"
        for name, sizes in REGIMES.items()
    )
    seeds, percent = registered.SEEDS, 100 * differences.CONFIDENCE
    prices = f"${money.DOLLARS_IN:g} for a million words read, ${money.DOLLARS_OUT:g} written"
    return f"""Written by `python bench/proof.py --report` from `bench/proof.jsonl` and
`bench/{summary.POCKET.name}`, not by hand. A test of the mechanism with an oracle and a student
of half a million parameters: **no figure here stands beside one of the paper's benchmarks.** It is
explained in [proof.md](proof.md).

Arms, settings and comparisons were registered before the first run: `bench/proving/{_FILE.name}`,
commit {commit()}, SHA-256 {registered.digest()}; a result of another registration is left out.
Laboratory `{frozen.check()}`. Seeds {seeds[0]} to {seeds[-1]}. The primary arm is *{PRIMARY.name}*
(`review.judge: likelihood`, no call for discrimination). Bases: {regimes}.

Accuracy is the macro average over twenty families, {frozen.EXAM_SIZE} held-out items, in per cent;
*by pool* weighs a family as the base pool does. Giving each family's commonest answer would be
right on {100 * chance():.1f} %. Differences are paired by seed, in points, with
Student's {percent:.0f} % interval. Money: {prices}, in every role; *long* counts each of the
teacher's answers as {money.LONG_WORDS} words. The referee of *frugal* is the noisy one. The base
pool's answers, the same for all arms, are left out. Results by the commit that ran, with `+` where
its working tree had changes ([proof.md](proof.md#what-is-frozen-and-what-is-registered)):
{_commits(results)}.
"""


def _commits(results: Results) -> str:
    """Return how many results each commit made, the most first."""
    rows = (row for seeds in results.values() for row in seeds.values())
    counts = Counter(str(row["commit"]) for row in rows)
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def chance() -> float:
    """Return the macro accuracy on the frozen exam of each family's commonest answer."""
    share = statistics.guess_share((task.family, task.answer) for task in frozen.exam())
    assert share is not None
    return share


def _arms(results: Results, regime: str, skew: float) -> str:
    lines = [
        "| arm | seeds | base | 1 | 2 | 3 | by pool | new rows | steps | calls | cents | long |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, arm in ARMS.items():
        rows = list(results.get((regime, skew, name), {}).values())
        if rows and arm not in LONG:
            lines.append(f"| {' | '.join([name, str(len(rows)), *_cells(rows)])} |")
    return "\n".join(lines) + "\n"


def _cells(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield _spread([row["base"]["accuracy"] for row in rows])
    for number in range(3):
        yield _spread([row["iterations"][number]["accuracy"] for row in rows])
    yield _spread([differences.pool_weighted(row) for row in rows])
    for name in ("new", "steps"):
        yield f"{fmean(sum(point[name] for point in row['iterations']) for row in rows):,.0f}"
    final = [row["iterations"][-1] for row in rows]
    yield f"{fmean(sum(point['calls'].values()) for point in final):,.0f}"
    yield f"{cents(final):.1f}"
    yield f"{100 * fmean(money.dollars(point, 'long') for point in final):.1f}"


def cents(points: Sequence[Mapping[str, Any]]) -> float:
    """Return the mean of what was spent up to there, in cents at the price of short answers."""
    return 100 * fmean(money.dollars(point) for point in points)


def _spread(values: Sequence[float]) -> str:
    mean = f"{100 * fmean(values):.1f}"
    return mean if len(values) < 2 else f"{mean} ± {100 * stdev(values):.1f}"


def _differences(results: Results, regime: str, skew: float) -> str:
    lines = ["| difference | at equal | seeds | macro | by pool |", "|---|---|---|---|---|"]
    for compared in (*COMPARISONS, *_NOT_REGISTERED):
        macro = difference(results, compared, regime, skew)
        by_pool = difference(results, compared, regime, skew, differences.pool_weighted)
        if macro is not None:
            name = f"{compared.ours.name} - {compared.others.plain}"
            name += " (not registered)" if compared in _NOT_REGISTERED else ""
            cells = [name, compared.budget, str(macro.seeds), str(macro), str(by_pool)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _areas(results: Results, regime: str, skew: float) -> str:
    """Return the area under the curve of each signal against the exact gap, by iteration."""
    rows = list(results.get((regime, skew, PRIMARY.name), {}).values())
    if not rows:
        return ""
    names = list(rows[0]["iterations"][0]["auc"])
    lines = [
        "Chance that a signal ranks a row that the exact referee calls hard above one that it "
        "calls easy, before each iteration of the primary arm. The oracle gives a wrong answer far "
        "fewer points than a right one: a referee's noise seldom changes a rank:\n",
        "| signal | 1 | 2 | 3 |",
        "|---|---|---|---|",
    ]
    for name in names:
        cells = [
            _mean_area([row["iterations"][number]["auc"][name] for row in rows])
            for number in range(3)
        ]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines) + "\n"


def _long(results: Results, regime: str, skew: float) -> str:
    """Return the table of twelve iterations: accuracy, and what goes to families never learnt."""
    lines = [
        "Twelve iterations. *Never learnt*: share of the new rows in families of which the student "
        f"gets less than {100 * _LEARNT:.0f} % right at the base and, in each of these arms, at "
        "the end.\n",
        "| arm | seeds | base | 3 | 6 | 9 | 12 | never learnt, iterations 1 to 3 | 10 to 12 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    arms = {arm: results.get((regime, skew, arm.name), {}) for arm in LONG}
    trap = []
    for arm, rows in arms.items():
        if not rows:
            continue
        lost = {seed: _never_learnt(seed, list(arms.values())) for seed in rows}
        early, late = (
            fmean(_share(row, part, lost[seed]) for seed, row in rows.items())
            for part in (slice(0, 3), slice(9, 12))
        )
        cells = [arm.name, str(len(rows)), *_long_cells(list(rows.values()))]
        cells += [f"{100 * early:.1f} %", f"{100 * late:.1f} %"]
        lines.append(f"| {' | '.join(cells)} |")
        if arm.feedback == "adversarial":
            trap.append(f"{100 * late:.0f} % for *{arm.name.removesuffix(' 12 iterations')}*")
    told = (
        "\nThe trap of what cannot be learnt takes of the new rows of iterations 10 to 12: "
        f"{', '.join(trap)}.\n"
        if trap
        else ""
    )
    return "\n".join(lines) + "\n" + told if len(lines) > 3 else ""


def _long_cells(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield _spread([row["base"]["accuracy"] for row in rows])
    for number in (3, 6, 9, 12):
        yield _spread([row["iterations"][number - 1]["accuracy"] for row in rows])


_LEARNT = 0.1  # share of right answers, from which a family counts as learnt


def _never_learnt(seed: int, arms: Sequence[Mapping[int, Mapping[str, Any]]]) -> list[str]:
    """Return the families that no arm of a seed has learnt, from base to end."""
    rows = [arm[seed] for arm in arms if seed in arm]
    ends = [rows[0]["base"]["families"], *(row["iterations"][-1]["families"] for row in rows)]
    return [name for name in ends[0] if all(end[name] < _LEARNT for end in ends)]


def _share(row: Mapping[str, Any], part: slice, lost: Sequence[str]) -> float:
    """Return the share of the new rows of some iterations in some families."""
    new = [point["new_by_family"] for point in row["iterations"][part]]
    all_rows = sum(sum(counts.values()) for counts in new)
    return sum(counts.get(name, 0) for counts in new for name in lost) / all_rows


def _mean_area(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{fmean(known):.3f}" + (f" ± {stdev(known):.3f}" if len(known) > 1 else "")


def _missing(results: Results) -> str:
    """List what was not run, by regime and skew."""
    lines = []
    for regime in reversed(REGIMES):
        for skew in SKEWS:
            wanted = {
                arm.name: seeds
                for group, arms in GROUPS.items()
                for arm in arms
                if (seeds := _wanted(group, regime, skew))
            }
            counts = {name: len(results.get((regime, skew, name), {})) for name in wanted}
            short = [
                f"{name} ({n} of {wanted[name]})"
                for name, n in counts.items()
                if 0 < n < wanted[name]
            ]
            none = [name for name, count in counts.items() if not count]
            if len(none) == len(counts):
                lines.append(f"* {regime}, skew {skew:g}: nothing")
                continue
            if short:
                lines.append(f"* {regime}, skew {skew:g}, fewer seeds: {'; '.join(short)}")
            if none:
                lines.append(f"* {regime}, skew {skew:g}, not run: {'; '.join(none)}")
    return "\n".join(["## Not finished\n", *lines]) + "\n" if lines else ""


def _wanted(group: str, regime: str, skew: float) -> int:
    """Return how many seeds of a group's arms are wanted: at skew 0.65 of the first group alone."""
    seeds = len(registered.SEEDS)
    if group == "first":
        return seeds
    if skew not in (0.0, 1.3):
        return 0
    if group in ("tau", "long") and (regime, skew) != ("trained", 1.3):
        return 0
    return 2 if group == "long" else seeds


def _line(results: Results) -> dict[str, Any]:
    """Return the first primary comparison, trained regime, largest skew, in points."""
    compared, skew = PRIMARY_COMPARISONS[0], max(SKEWS)
    known: Difference | None = difference(results, compared, "trained", skew)
    unit = f"points of macro accuracy, {compared.ours.name} - {compared.others.name}, skew {skew:g}"
    if known is None:
        return {"name": "proof", "ours": None, "low": None, "high": None, "seeds": 0, "unit": unit}
    low, high = (None if end is None else round(100 * end, 2) for end in (known.low, known.high))
    ours = round(100 * known.mean, 2)
    return {
        "name": "proof",
        "ours": ours,
        "low": low,
        "high": high,
        "seeds": known.seeds,
        "unit": unit,
    }
