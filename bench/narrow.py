"""Measures what the loop is worth on the narrow profile: seeds, iterations, both baselines.

    python bench/narrow.py                   # runs what is missing, then the result and the table
    python bench/narrow.py --report          # docs/tutorials/narrow-task.md from it
    python bench/narrow.py --seeds 901 --folder .lion/trial --edit '{"review.judge": "scorer"}'

Needs the extra `test`.

Each seed is a project of its own under --folder, with its own pools, exam and students; a killed
run goes on from there, and a finished seed is not run again. The baselines are given rows and
uniform parents, each at the loop's optimiser steps, the second at its spend. The result is
bench/narrow.json: commit, seeds, machine, versions, and the mark of every student on every row;
what `--edit` gives is only printed. The last line is one JSON object: the loop's accuracy over that
of one-way, at equal spend.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# the script's own folder comes first in the path, and has modules called as those of tests/
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from narrow_task import collect, report
from pipeline import Project
from trials import commits
from trials.edited import claim

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "bench" / "narrow.json"
LOOP = ("1", "2")


def main() -> None:
    """Run what is missing, then report."""
    options = arguments()
    if options.report:
        result = json.loads(RESULT.read_text(encoding="utf-8"))
    else:
        claim(options.folder, options.edit)
        documents = [measured(options.folder, seed, options.edit) for seed in options.seeds]
        result = {**collected(documents), "load": options.load}
    if not options.edit:
        if not options.report:
            RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        report.write(result, ROOT / "docs" / "tutorials" / "narrow-task.md")
    print(report.as_text(result))
    print(json.dumps(report.claim(result)))


def measured(folder: Path, seed: int, edit: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a seed; run its pipeline as far as it has not run."""
    done = folder / f"seed-{seed}.json"
    if not done.exists():
        project = prepared(folder / f"seed-{seed}", seed, edit)
        run = project.repro()
        if run.code:
            sys.exit(f"seed {seed}: dvc repro ended with {run.code}\n{run.output[-4000:]}")
        figures = {"seed": seed, "commit": commit(project), **collect.figures(project)}
        done.write_text(json.dumps(figures), encoding="utf-8")
    document: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
    return document


def prepared(root: Path, seed: int, edit: Mapping[str, Any]) -> Project:
    """Return the project of a seed: the profile `narrow` with both baselines."""
    if root.exists():
        return Project(root, threads=1)
    project = Project.of_working_tree(root, "narrow")
    project.edit({"random_seed": seed, "baselines": baselines(), **edit})
    (root / "COMMIT").write_text(commits.described(), encoding="utf-8")
    project.commit()
    return project


def baselines() -> dict[str, dict[str, str]]:
    """Return the lines of both baselines, a line for each iteration."""
    lines = {}
    for name, rows in (("given", "given"), ("one-way", "uniform")):
        previous = "0"
        for iteration in LOOP:
            key = f"{name}-{iteration}"
            lines[key] = {"previous": previous, "like": iteration, "rows": rows}
            previous = key
    return lines


def collected(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the result: what was measured, where, and with what."""
    import torch
    import transformers

    return {
        "machine": f"{platform.processor() or platform.machine()}, {collect.cores()} cores",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "seeds": documents,
    }


def commit(project: Project) -> str:
    """Return the commit of this repository that a project was made of."""
    return (project.root / "COMMIT").read_text(encoding="utf-8").strip()


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[41, 42, 43])
    parser.add_argument("--folder", type=Path, default=ROOT / ".lion" / "narrow")
    parser.add_argument("--edit", type=json.loads, default={}, help="params, by dotted name")
    parser.add_argument("--load", default="alone on the machine", help="what ran beside it")
    parser.add_argument("--report", action="store_true", help="run nothing")
    options = parser.parse_args()
    if options.report and options.edit:
        parser.error("--report shows the profile's result, which no --edit changed")
    return options


if __name__ == "__main__":
    sys.exit(main())
