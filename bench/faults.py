"""Does faults to a whole pipeline, and compares what is left with an undisturbed run.

    python bench/faults.py                          # every fault, resumable, about two hours
    python bench/faults.py --families kills --cycles 2
    python bench/faults.py --report                 # docs/evidence/reliability.md from what is done

Needs the extra `test`.

A tiny project with every stage (the optional ones too) is run once, undisturbed, before a teacher
that counts each request. Then, fault by fault: one stage is made as if it had never run, its
outputs, cache and replies gone; `dvc repro` is disturbed; one `dvc repro` follows, or what its
error names; outputs, files and replies are compared byte by byte. A finished fault is one line of
the results, and is not done again. Full disks want root (a tmpfs is mounted); elsewhere they are
left out, and told. The last line is one JSON object: faults survived, faults tried.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faulting import campaign, report
from faulting.site import ROOT


def main() -> None:
    """Do what is missing, then report."""
    options = arguments()
    # started in the background Ctrl-C may be ignored, here and by every child; and what is ended
    # must end its teacher
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    results = options.folder / "results.jsonl"
    if not options.report:
        options.folder.mkdir(parents=True, exist_ok=True)
        campaign.run(
            options.folder.resolve(), results, options.families, options.cycles, options.most
        )
    rows = list(read(results))
    planned = campaign.planned(options.folder, options.cycles)
    report.write(rows, planned, options.out)
    survived = sum(row["survived"] for row in rows)
    figures = {"ours": survived, "others": len(rows), "ratio": round(survived / len(rows), 4)}
    print(json.dumps({"name": "faults", **figures, "unit": "faults survived"}))


def read(path: Path) -> Iterator[report.Row]:
    """Yield the lines of the results."""
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=ROOT / ".lion" / "faults")
    parser.add_argument(
        "--families", nargs="+", choices=campaign.FAMILIES, default=[*campaign.FAMILIES]
    )
    parser.add_argument("--cycles", type=int, default=2, help="of six kills, for each stage")
    parser.add_argument("--most", type=int, help="trials of each family and project this time")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "evidence" / "reliability.md")
    parser.add_argument("--report", action="store_true", help="do nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
