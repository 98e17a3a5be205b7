"""Measures at toy size whether feedback helps, and whether it is worth its money.

    make proof                                         # all of it, some hours on two cores
    python bench/proof.py --arms main --skews 1.3      # some of it
    python bench/proof.py --report                     # docs/evidence/results.md from what is done

Needs the extra `proof`.

Every arm starts from the same base student of its seed and skew, and sits the same frozen exam
(bench/frozen.json; a changed laboratory is refused). A finished arm is one JSON file in --folder;
what is there is not run again, so a killed proof goes on, and two processes may share the seeds.
The report is made from these files. Its last line is one JSON object: feedback's gain from the
adversary that weighs by learning progress over that of the paper's rule.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


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
    from proving import plots, report

    if set(options.seeds) <= set(frozen.SEEDS):
        plots.write(report.read(options.folder), ROOT / "docs" / "evidence" / "plots")
        print(json.dumps(report.write(options.folder, ROOT / "docs" / "evidence" / "results.md")))


def run(options: argparse.Namespace) -> None:
    """Run every arm that has no result yet, in order."""
    import torch

    from lion.records import jsonl

    torch.set_num_threads(1)
    from proving import loop
    from proving.arms import GROUPS, Sizes

    for group, skew, seed in wanted(options):
        for arm in GROUPS[group]:
            path = loop.result_path(options.folder, arm.name, seed, skew)
            if path.exists() or (options.only and arm.name not in options.only):
                continue
            began = time.perf_counter()
            found = loop.prove(arm, Sizes(), seed, skew, options.folder)
            jsonl.write_document(path, found)
            last = found["iterations"][-1]["accuracy"]
            seconds = time.perf_counter() - began
            told = f"{found['base']['accuracy']:.3f} -> {last:.3f}  {seconds:.0f} s"
            print(f"skew {skew:g}  seed {seed}  {arm.name:32} {told}", flush=True)


def wanted(options: argparse.Namespace) -> Iterator[tuple[str, float, int]]:
    """Yield groups of arms with skew and seed, in the order of running."""
    for group in options.arms:
        for skew in options.skews:
            for seed in options.seeds:
                yield group, skew, seed


def arguments() -> argparse.Namespace:
    """Read the command line."""
    from proving import frozen
    from proving.arms import ALL, GROUPS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arms", nargs="+", choices=GROUPS, default=list(GROUPS)[:4])
    parser.add_argument("--only", nargs="+", choices=ALL, help="of these groups, these arms alone")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(frozen.SEEDS))
    parser.add_argument("--skews", nargs="+", type=float, default=[1.3, 0.0, 0.65])
    parser.add_argument("--folder", type=Path, default=ROOT / ".lion" / "proof")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--freeze", action="store_true", help="hash the laboratory anew, no more")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
