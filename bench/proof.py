"""Measures at toy size whether feedback helps, which signal pays, and by how much.

    make proof                                            # all of it, some twelve hours of one core
    python bench/proof.py --arms first --regimes trained --skews 1.3
    python bench/proof.py --report     # docs/evidence/results.md from what is done

Every arm starts from the base student of its regime, seed and skew, and sits the same frozen exam
(bench/frozen.json; a changed laboratory is refused). Arms and comparisons are those of
bench/proving/registered.py, committed before the first run. A finished arm is one line of --results
and is not run again: a killed proof goes on with the next arm, and two processes may share the
seeds. Base students lie in --folder. Needs the extra `proof`; set OMP_NUM_THREADS=1. The last line
is one JSON object: the primary comparison.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "docs" / "evidence"
sys.path.insert(0, str(ROOT))


def main() -> None:
    """Run what is missing, then report."""
    options = arguments()
    from proving import frozen

    if options.freeze:
        frozen.freeze()
        return
    frozen.check()
    if not options.report:
        run(options)
    from proving import plots, registered, report, results

    if set(options.seeds) <= set(registered.SEEDS):
        done = results.ResultFile(options.results).results()
        plots.write(done, EVIDENCE / "plots")
        print(json.dumps(report.write(done, EVIDENCE / "results.md")))


def run(options: argparse.Namespace) -> None:
    """Run every arm that has no result yet, in order."""
    import torch

    torch.set_num_threads(1)
    from proving import loop, registered, results

    file, commit = results.ResultFile(options.results), head()
    for group, place in wanted(options):
        for arm in registered.GROUPS[group]:
            key = (place.regime, place.skew, arm.name, place.seed)
            if key in file.done() or (options.only and arm.name not in options.only):
                continue
            began = time.perf_counter()
            finished = partial(file.get, place.regime, place.skew, seed=place.seed)
            row = loop.prove(arm, place, finished)
            seconds = round(time.perf_counter() - began)
            file.add({**row, "seconds": seconds, "commit": commit})
            curve = [row["base"]["accuracy"], *(point["accuracy"] for point in row["iterations"])]
            shown = " ".join(f"{value:.3f}" for value in curve)
            print(f"{place.slug}  {arm.name:36} {shown}  {seconds} s", flush=True)


def head() -> str:
    """Return the commit whose code runs, with `+` where it is changed; reports are not code."""
    from trials.commits import git

    reports = [
        f":(exclude)bench/proving/{name}.py"
        for name in ("report", "summary", "plots", "differences")
    ]
    code = ["lion", "prompts", "bench/proof.py", "bench/proving", *reports]
    changed = git("status", "--porcelain", "--", *code)
    return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


def wanted(options: argparse.Namespace) -> Iterator[tuple[str, loop.Place]]:  # noqa: F821
    """Yield groups of arms with their place, in the order of running."""
    from proving.loop import Place

    for group in options.arms:
        for regime in options.regimes:
            for skew in options.skews:
                for seed in options.seeds:
                    yield group, Place(regime, skew, seed, options.folder)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    from proving.registered import ARMS, GROUPS, REGIMES, SEEDS, SKEWS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--arms",
        nargs="+",
        choices=GROUPS,
        default=list(GROUPS),
        metavar="GROUP",
        help=", ".join(GROUPS),
    )
    parser.add_argument(
        "--only", nargs="+", choices=ARMS, metavar="ARM", help="of these groups, these arms alone"
    )
    parser.add_argument(
        "--regimes", nargs="+", choices=REGIMES, default=["trained", "undertrained"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--skews", nargs="+", type=float, default=list(SKEWS))
    parser.add_argument("--folder", type=Path, default=ROOT / ".lion" / "proof")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "proof.jsonl")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--freeze", action="store_true", help="hash the laboratory anew, no more")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
