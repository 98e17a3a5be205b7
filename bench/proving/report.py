"""docs/evidence/results.md from the results of the arms: means, spreads, paired differences."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from lion.records import jsonl
from proving import frozen, money
from proving.arms import ABLATIONS, ALL, FULL_SPEND, MAIN, SPEND, TOKENS, Sizes

SKEWS = (0.0, 0.65, 1.3)
PLOTS = {
    "quality-against-money.svg": "Accuracy against cents spent, a curve an arm",
    "differences.svg": "Paired differences with their intervals",
}
"""Files of plots/ beside the report (see `plots`), and what they show."""
_WORST = 7
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm minus another, and the budget that both have."""

    ours: str
    others: str
    budget: str


COMPARED = (
    Comparison("adversarial", "one-way", "steps"),
    Comparison("adversarial", "same mix", "steps"),
    Comparison("adversarial", "balanced", "steps"),
    Comparison("progress", "one-way", "steps"),
    Comparison("progress", "same mix", "steps"),
    Comparison("progress", "balanced", "steps"),
    Comparison("progress", "adversarial", "steps"),
    Comparison("adversarial, tokens of one-way", "one-way", "tokens"),
    Comparison("progress, tokens of one-way", "one-way", "tokens"),
    Comparison("adversarial, tokens of same mix", "same mix", "tokens"),
    Comparison("frugal", "one-way, spend of frugal", "spend"),
    Comparison("frugal", "same mix, spend of frugal", "spend"),
    Comparison("frugal", "balanced, spend of frugal", "spend"),
    Comparison("frugal progress", "one-way, spend of frugal", "spend"),
    Comparison("frugal progress", "same mix, spend of frugal", "spend"),
    Comparison("frugal progress", "balanced, spend of frugal", "spend"),
    Comparison("adversarial", "one-way, spend of adversarial", "spend"),
    Comparison("adversarial", "balanced, spend of adversarial", "spend"),
    Comparison("frugal", "adversarial", "steps"),
)

Results = Mapping[tuple[str, float], Mapping[int, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of paired differences over seeds, with Student's t interval (None: one seed)."""

    mean: float
    low: float | None
    high: float | None
    seeds: int

    def __str__(self) -> str:
        """Return it in points of accuracy."""
        if self.low is None or self.high is None:
            return f"{100 * self.mean:+.1f} (one seed)"
        return f"{100 * self.mean:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


def read(folder: Path) -> Results:
    """Return what is done, by arm and skew, then seed; reported seeds and this laboratory only."""
    found: dict[tuple[str, float], dict[int, Mapping[str, Any]]] = defaultdict(dict)
    laboratory = frozen.check()
    for path in sorted((folder / "results").glob("*.json")):
        one = jsonl.read_document(path)
        if one["seed"] in frozen.SEEDS and one["frozen"] == laboratory:
            found[one["arm"], one["skew"]][one["seed"]] = one
    return found


def write(folder: Path, path: Path) -> dict[str, Any]:
    """Write the report, which shows the files of `PLOTS`; return the line that ends the bench."""
    found = read(folder)
    skews = ran(found)
    images = [f"![{told}](plots/{name})\n" for name, told in PLOTS.items()]
    parts = [_opening(found, skews), *images]
    for skew in skews:
        parts += [f"## Skew {skew:g}\n", _arms(found, skew), _differences(found, skew)]
        parts += [_money(found, skew), _families(found, skew)]
    parts += [_losses(found, skews), _ablations(found), _missing(found)]
    path.write_text("\n".join(part for part in parts if part), encoding="utf-8")
    return _line(found)


def ran(found: Results) -> list[float]:
    """Return the skews of which there are results."""
    return [skew for skew in SKEWS if any(known == skew for _, known in found)]


def last(one: Mapping[str, Any]) -> float:
    """Return the macro accuracy after the last iteration."""
    return float(one["iterations"][-1]["accuracy"])


def worst(one: Mapping[str, Any]) -> float:
    """Return the accuracy after it on the seven families in which the base was worst."""
    base, final = one["base"]["families"], one["iterations"][-1]["families"]
    names = sorted(base, key=lambda name: (base[name], name))[:_WORST]
    return fmean(final[name] for name in names)


def common(found: Results, arms: Sequence[str], skew: float) -> list[int]:
    """Return the seeds that all of these arms have."""
    return sorted(set.intersection(*(set(found.get((arm, skew), {})) for arm in arms)))


def difference(found: Results, ours: str, others: str, skew: float, of: Any) -> Difference | None:
    """Return the paired difference of what `of` takes from a result; None without common seeds."""
    values = [
        of(found[ours, skew][seed]) - of(found[others, skew][seed])
        for seed in common(found, (ours, others), skew)
    ]
    if not values:
        return None
    if len(values) == 1:
        return Difference(values[0], None, None, 1)
    from scipy import stats

    interval = stats.ttest_1samp(values, 0.0).confidence_interval(_CONFIDENCE)
    return Difference(fmean(values), float(interval.low), float(interval.high), len(values))


def _opening(found: Results, skews: Sequence[float]) -> str:
    sizes = Sizes()
    seeds = {skew: len(found.get(("adversarial", skew), {})) for skew in skews}
    told = ", ".join(f"{count} at skew {skew:g}" for skew, count in seeds.items())
    return f"""# Does feedback help? The mechanism, at toy size

Written by `python bench/proof.py --report` from the results of `make proof`, not by hand. A test
of the mechanism with an oracle and a student of half a million parameters: **no figure here stands
beside one of the paper's benchmarks.** [proof.md](proof.md) says how it is done.

Laboratory `{frozen.check()}` (bench/frozen.json). Fresh seeds, kept out of tuning
([proof.md](proof.md) tells the one rule settled after some of them were seen);
of {len(frozen.SEEDS)} the paper's
rule has run {told}. Base pool {sizes.pool:,} instructions and {sizes.base_steps} steps,
shared by all arms of a seed and skew; three iterations of {sizes.hard} + {sizes.easy} new
instructions and {sizes.steps} steps, {sizes.judged:,} answers judged in both orders, replay 1.
A family's weight in the base pool is 1 / rank ^ skew.

Accuracy is the macro average over twenty families, {frozen.EXAM_SIZE} held-out items, in per cent;
*worst seven* are the families in which the base student of that seed was worst. Means over seeds
with their standard deviation; differences are paired by seed, in points, with Student's 95 %
interval. Money: ${money.DOLLARS_IN:g} for a million words read, ${money.DOLLARS_OUT:g} written, in
every role; arms without feedback pay no referee; the base pool's answers, the same for all arms,
are left out.
"""


def _spread(values: Sequence[float]) -> str:
    told = f"{100 * fmean(values):.1f}"
    return told if len(values) < 2 else f"{told} ± {100 * stdev(values):.1f}"


def _arms(found: Results, skew: float) -> str:
    lines = [
        "| arm | seeds | base | 1 | 2 | 3 | worst seven | steps | tokens | calls | cents |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for arm in (*MAIN, *TOKENS, *SPEND, *FULL_SPEND):
        results = list(found.get((arm.name, skew), {}).values())
        if not results:
            continue
        curve = [_spread([one["base"]["accuracy"] for one in results])]
        curve += [
            _spread([one["iterations"][at]["accuracy"] for one in results]) for at in range(3)
        ]
        steps = fmean(sum(part["steps"] for part in one["iterations"]) for one in results)
        tokens = fmean(sum(part["tokens"] for part in one["iterations"]) for one in results)
        calls = fmean(sum(one["iterations"][-1]["calls"].values()) for one in results)
        cents = 100 * fmean(sum(one["iterations"][-1]["dollars"].values()) for one in results)
        cells = [arm.name, f"{len(results)}", *curve, _spread([worst(one) for one in results])]
        cells += [f"{steps:,.0f}", f"{tokens:,.0f}", f"{calls:,.0f}", f"{cents:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _money(found: Results, skew: float) -> str:
    """Return quality against money, a curve per arm: accuracy for the cents spent up to there."""
    lines = [
        "Quality against money: accuracy after each iteration, and the cents spent by then.\n",
        "| arm | 1 | 2 | 3 |",
        "|---|---|---|---|",
    ]
    for arm in (*MAIN, *SPEND, *FULL_SPEND):
        results = list(found.get((arm.name, skew), {}).values())
        if results:
            points = [[one["iterations"][at] for one in results] for at in range(3)]
            cells = [f"{_accuracy(point):.1f} for {cents(point):.1f}" for point in points]
            lines.append(f"| {' | '.join([arm.name, *cells])} |")
    return "\n".join(lines) + "\n"


def _accuracy(point: Sequence[Mapping[str, Any]]) -> float:
    return 100 * fmean(one["accuracy"] for one in point)


def cents(point: Sequence[Mapping[str, Any]]) -> float:
    """Return the mean of what was spent up to there, in cents."""
    return 100 * fmean(sum(one["dollars"].values()) for one in point)


def _differences(found: Results, skew: float) -> str:
    lines = [
        "| difference | at equal | seeds | all families | worst seven |",
        "|---|---|---|---|---|",
    ]
    for one in COMPARED:
        whole = difference(found, one.ours, one.others, skew, last)
        hardest = difference(found, one.ours, one.others, skew, worst)
        if whole is not None:
            name = f"{one.ours} - {one.others}"
            lines.append(f"| {name} | {one.budget} | {whole.seeds} | {whole} | {hardest} |")
    return "\n".join(lines) + "\n"


def _families(found: Results, skew: float) -> str:
    """Return the share of all new instructions by family, and the last accuracy, of two arms."""
    arms = ("adversarial", "progress")
    seeds = common(found, arms, skew)
    if not seeds:
        return ""
    lines = [
        "Where the new instructions went (per cent), and the accuracy there before and after, over "
        f"the {len(seeds)} seeds that both have:\n",
        "| family | adversarial | progress | base | adversarial after | progress after |",
        "|---|---|---|---|---|---|",
    ]
    results = {arm: [found[arm, skew][seed] for seed in seeds] for arm in arms}
    base = {
        family: fmean(one["base"]["families"][family] for one in results["adversarial"])
        for family in results["adversarial"][0]["base"]["families"]
    }
    for family in sorted(base, key=lambda name: base[name]):
        shares = [f"{100 * _share(results[arm], family):.1f}" for arm in arms]
        after = [
            f"{100 * fmean(one['iterations'][-1]['families'][family] for one in results[arm]):.0f}"
            for arm in arms
        ]
        lines.append(f"| {' | '.join([family, *shares, f'{100 * base[family]:.0f}', *after])} |")
    return "\n".join(lines) + "\n"


def _share(results: Sequence[Mapping[str, Any]], family: str) -> float:
    new = [part["new_by_family"] for one in results for part in one["iterations"]]
    return sum(one.get(family, 0) for one in new) / sum(sum(one.values()) for one in new)


def _losses(found: Results, skews: Sequence[float]) -> str:
    """Say in words where an adversary is behind, ahead, or neither."""
    told: dict[str, list[str]] = {"ahead": [], "behind": [], "undecided": []}
    budgets: set[str] = set()
    for skew in skews:
        for one in COMPARED:
            known = difference(found, one.ours, one.others, skew, last)
            if known is None or one.others == "adversarial":
                continue
            budgets.add(one.budget)
            told[_side(known)].append(
                f"* skew {skew:g}, equal {one.budget}: {one.ours} - {one.others} {known}"
            )
    parts = ["## Where the adversary wins and where it loses\n"]
    for side, title in (
        ("behind", "It loses (the interval lies below zero):"),
        ("ahead", "It wins (the interval lies above zero):"),
        ("undecided", "Undecided (the interval holds zero, or one seed only):"),
    ):
        parts += [title, "", *(told[side] or ["* nowhere"]), ""]
    parts += [
        f"At equal {budget} nothing has been measured yet.\n"
        for budget in ("steps", "tokens", "spend")
        if budget not in budgets
    ]
    return "\n".join(parts)


def _side(known: Difference) -> str:
    if known.low is None or known.high is None or known.low <= 0 <= known.high:
        return "undecided"
    return "ahead" if known.low > 0 else "behind"


def _ablations(found: Results) -> str:
    lines = []
    for arm in ABLATIONS:
        for skew in SKEWS:
            results = list(found.get((arm.name, skew), {}).values())
            known = difference(found, arm.name, "adversarial", skew, last)
            if results and known is not None:
                value = _spread([last(one) for one in results])
                lines.append(f"| {arm.name} | {skew:g} | {len(results)} | {value} | {known} |")
    if not lines:
        return ""
    head = ["## Ablations of the paper's rule\n", "| arm | skew | seeds | last | - adversarial |"]
    return "\n".join([*head, "|---|---|---|---|---|", *lines]) + "\n"


def _missing(found: Results) -> str:
    """List what was not run, by skew."""
    lines = []
    for skew in SKEWS:
        counts = {name: len(found.get((name, skew), {})) for name in ALL}
        short = [f"{name} ({n})" for name, n in counts.items() if 0 < n < len(frozen.SEEDS)]
        none = [name for name, count in counts.items() if not count]
        if short:
            lines.append(f"* skew {skew:g}, with fewer seeds (how many): {'; '.join(short)}")
        if len(none) == len(counts):
            lines.append(f"* skew {skew:g}: nothing was run")
        elif none:
            lines.append(f"* skew {skew:g}, not run: {'; '.join(none)}")
    if not lines:
        return ""
    return "\n".join([f"## Not run, or with fewer than {len(frozen.SEEDS)} seeds\n", *lines]) + "\n"


def _line(found: Results) -> dict[str, Any]:
    """Return feedback's gain (points over the same mix without) of both adversaries.

    Over the seeds that all three arms have, at the largest skew.
    """
    skew = max(SKEWS)
    seeds = common(found, ("progress", "adversarial", "same mix"), skew)
    ours, others = (
        round(100 * fmean(last(found[arm, skew][seed]) for seed in seeds), 2) if seeds else None
        for arm in ("progress", "adversarial")
    )
    unit = f"points of macro accuracy over the same mix, skew {skew:g}, {len(seeds)} seeds"
    line: dict[str, Any] = {"name": "proof", "ours": None, "others": None, "ratio": None}
    if ours is not None and others is not None:
        plain = 100 * fmean(last(found["same mix", skew][seed]) for seed in seeds)
        gains = round(ours - plain, 2), round(others - plain, 2)
        line |= {"ours": gains[0], "others": gains[1]}
        line["ratio"] = round(gains[0] / gains[1], 2) if gains[1] > 0 else None
    return {**line, "unit": unit}
