"""docs/evidence/mechanism.md from the results of the arms: means, spreads, paired differences."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from proving import differences, frozen, money, registered
from proving.differences import Difference, difference
from proving.registered import ARMS, COMPARISONS, PRIMARY, PRIMARY_COMPARISONS, REGIMES, SKEWS
from proving.results import Results

PLOTS = {
    "mechanism-differences.svg": "Paired differences with their intervals",
    "mechanism-money.svg": "Accuracy against cents spent, a curve an arm",
}
"""Files of plots/ beside the report (see `plots`), and what they show."""
_FILE = Path(registered.__file__)
Panel = tuple[str, float]
"""A regime and a skew."""


def write(results: Results, path: Path) -> dict[str, Any]:
    """Write the report, which shows the files of `PLOTS`; return the line that ends the bench."""
    figures = [f"![{shown}](plots/{name})\n" for name, shown in PLOTS.items()]
    parts = [_opening(results), figures[0], _how(), figures[1]]
    for regime, skew in panels(results):
        parts += [f"## {regime.capitalize()} base, skew {skew:g}\n", _arms(results, regime, skew)]
        parts += [_differences(results, regime, skew), _areas(results, regime, skew)]
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


def _opening(results: Results) -> str:
    lines = [_sentence(results, skew) for skew in SKEWS]
    return "# When does an adversary pay, which, and by how much?\n\n" + "\n".join(lines) + "\n"


def _sentence(results: Results, skew: float) -> str:
    """Say how the primary arm stands to the plain ones at equal spend, base trained."""
    where = f"* {_WHERE[skew]} (skew {skew:g})"
    parts = []
    for compared in PRIMARY_COMPARISONS:
        known = difference(results, compared, "trained", skew)
        if known is not None:
            parts.append(f"{known} points against {compared.others.plain} ({known.seeds} seeds)")
    if not parts:
        return f"{where}: the primary comparisons have not run."
    decided = {
        known.side
        for compared in PRIMARY_COMPARISONS
        if (known := difference(results, compared, "trained", skew)) is not None
    }
    verdict = _VERDICTS.get(frozenset(decided), "it depends on what it is compared with")
    return f"{where}, trained base, equal spend: {verdict}: " + ", ".join(parts) + "."


_WHERE = {
    1.3: "Where some kinds of task are rare",
    0.0: "Where all kinds are equally common",
    0.65: "Where some kinds are less common",
}
_VERDICTS = {
    frozenset({"ahead"}): "the student's own likelihood, a free signal, pays",
    frozenset({"behind"}): "the student's own likelihood, a free signal, loses",
    frozenset({"undecided"}): "not clearly ahead or behind",
}


def _how() -> str:
    regimes = "; ".join(
        f"*{name}*: {sizes.pool:,} rows and {sizes.base_steps:,} steps, then {sizes.hard:,} + "
        f"{sizes.easy} new rows and {sizes.steps} steps an iteration at {sizes.later_rate:g} of "
        "the base's learning rates"
        for name, sizes in REGIMES.items()
    )
    seeds, percent = registered.SEEDS, 100 * differences.CONFIDENCE
    prices = f"${money.DOLLARS_IN:g} for a million words read, ${money.DOLLARS_OUT:g} written"
    return f"""Written by `python bench/proof.py --report` from `bench/proof.jsonl`, not by
hand. A test of the mechanism with an oracle and a student of half a million parameters: **no figure
here stands beside one of the paper's benchmarks.** [proof.md](proof.md) says how it is done.

Arms, settings and comparisons were registered before the first run: `bench/proving/{_FILE.name}`,
commit {commit()}, SHA-256 {registered.digest()}; a result of another registration is left out.
Laboratory `{frozen.check()}`. Seeds {seeds[0]} to {seeds[-1]}. The primary arm is *{PRIMARY.name}*
(`review.judge: likelihood`, no call for discrimination). Bases: {regimes}.

Accuracy is the macro average over twenty families, {frozen.EXAM_SIZE} held-out items, in per cent;
*by pool* weighs a family as the base pool does. Differences are paired by seed, in points, with
Student's {percent:.0f} % interval. Money: {prices}, in every role; *long* counts each of the
teacher's answers as {money.LONG_WORDS} words. The referee of *frugal* is the noisy one. The base
pool's answers, the same for all arms, are left out.
"""


def _arms(results: Results, regime: str, skew: float) -> str:
    lines = [
        "| arm | seeds | base | 1 | 2 | 3 | by pool | new rows | steps | calls | cents | long |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in ARMS:
        rows = list(results.get((regime, skew, name), {}).values())
        if rows:
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
    for compared in COMPARISONS:
        macro = difference(results, compared, regime, skew)
        by_pool = difference(results, compared, regime, skew, differences.pool_weighted)
        if macro is not None:
            name = f"{compared.ours.name} - {compared.others.plain}"
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
        "calls easy, before each iteration of the primary arm:\n",
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
            counts = {name: len(results.get((regime, skew, name), {})) for name in ARMS}
            wanted = len(registered.SEEDS)
            short = [f"{name} ({n} of {wanted})" for name, n in counts.items() if 0 < n < wanted]
            none = [name for name, count in counts.items() if not count]
            if len(none) == len(counts):
                lines.append(f"* {regime}, skew {skew:g}: nothing")
                continue
            if short:
                lines.append(f"* {regime}, skew {skew:g}, fewer seeds: {'; '.join(short)}")
            if none:
                lines.append(f"* {regime}, skew {skew:g}, not run: {'; '.join(none)}")
    return "\n".join(["## Not finished\n", *lines]) + "\n" if lines else ""


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
