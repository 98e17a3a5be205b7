"""Compares what the pipeline writes with what an older version of it wrote, byte for byte.

    python bench/golden.py record FOLDER     # with the old code: ledgers, hashes and metrics
    python bench/golden.py check FOLDER      # with the new code: the same, without a single call

Needs the extra `test`.

Two runs: the profile `ci` as it is, and the profile `default` up to its first iteration. A check
gets the recorded ledger and a budget of no call at all, so that a ledger key that moved stops the
run. Rows, answers and students must have the same bytes. Metrics must have the same values, but for
the fields in `REVALUED`; a field may have another name, if that stands in `RENAMED`. Hashes of
students hold for one machine and one set of libraries, so FOLDER is not committed. Exits with 1
where anything differs.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

# the script's own folder comes first in the path, and a sibling is called `pipeline` itself
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pipeline import Project

from lion.readers.official_exams import OFFICIAL

RUNS = {"ci": None, "default": {"1": {"previous": "0", "generate": {}, "tune": {}}}}
OUTPUTS = ("data", "metrics", "report")
_INTERVAL = ("low", "high")
# ids that were recomputed before; what orders stages or keeps them apart
ADDED = {"evaluated.json", "exam_basis.json", "replayed.json"}
REVALUED = {
    # fields of metrics whose method changed on purpose; rows, answers and students did not
    "evaluate.json": (
        "accuracy_interval.",  # Clopper-Pearson at effective rows: covers from 20 rows on
        "accuracy_share_difference",  # its last bit
        "difference_interval.",  # Newcombe's method 10
        "quality_flip_share",  # new
        "quality_interval.",  # a ratio estimator by t
        "teacher_accuracy_interval.",
    )
}
RENAMED: dict[str, dict[str, str]] = {
    "split.json": {"mean_gap": "mean_gap_points", "agreement": "agreement_share"},
    "agreement.json": {
        **{f"agreement.{name}": f"agreement.{name}_share" for name in ("value", *_INTERVAL)},
        "noise.deviation": "noise.deviation_points",
        "noise.tau": "noise.tau_points",
        "noise.within": "noise.within_share",
    },
    "calibration.json": {
        "flip_rate": "flip_share",
        "tie_rate": "tie_share",
        "position_bias": "position_bias_points",
        "noise": "noise_points",
        "repeated.agreement": "repeated.agreement_share",
        "repeated.deviation": "repeated.deviation_points",
    },
    "calibrate.json": {
        **{
            f"{figure}.{name}": f"{figure}.{name}_share"
            for figure in ("anchors.accuracy", "anchors.hard", "anchors.auc")
            for name in ("value", *_INTERVAL)
        },
        **{
            f"against_second.{figure}.{name}": f"against_second.{figure}.{name}_{unit}"
            for figure, unit in (("agreement", "share"), ("self_preference", "points"))
            for name in ("value", *_INTERVAL)
        },
    },
    "tune.json": {"final_loss": "final_loss_nats"},
    "exam.json": {
        "accuracy": "accuracy_share",
        "teacher_accuracy": "teacher_accuracy_share",
        "quality": "quality_percent",
    },
    "evaluate.json": {
        "accuracy": "accuracy_share",
        "teacher_accuracy": "teacher_accuracy_share",
        "difference": "accuracy_share_difference",
        "categories": "category_accuracy_share",
        "quality": "quality_percent",
        **{f"accuracy_interval.{name}": f"accuracy_interval.{name}_share" for name in _INTERVAL},
        **{
            f"teacher_accuracy_interval.{name}": f"teacher_accuracy_interval.{name}_share"
            for name in _INTERVAL
        },
        **{
            f"difference_interval.{name}": f"difference_interval.{name}_share_difference"
            for name in _INTERVAL
        },
        **{f"quality_interval.{name}": f"quality_interval.{name}_percent" for name in _INTERVAL},
    },
    "reasoning.json": {"bbh": "bbh_percent", "agieval": "agieval_percent"},
    "examine.json": {
        **{
            f"exams.{exam}.{name}": f"exams.{exam}.{name}_percent"
            for exam in OFFICIAL
            for name in ("average", "interval", "chance", "unread", "paper")
        },
        **{
            f"exams.{exam}.tasks.{task}.{name}": f"exams.{exam}.tasks.{task}.{name}_percent"
            for exam, tasks in OFFICIAL.items()
            for task in tasks
            for name in ("accuracy", "interval", "chance", "unread")
        },
    },
    "progress.csv": {
        "accuracy": "accuracy_share",
        "teacher_accuracy": "teacher_accuracy_share",
        "quality": "quality_percent",
        "mean_gap": "mean_gap_points",
    },
}
"""By file name under metrics/N/ or report/: a field's old dotted name, and its new one."""


def main() -> int:
    """Record or check; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("record", "check"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    action = record if options.action == "record" else check
    differences = [line for name in options.runs for line in action(name, options.folder)]
    for line in differences:
        print(line)
    told = {"name": "golden", "ours": len(differences), "others": 0, "ratio": None}
    print(json.dumps({**told, "unit": "differences"}))
    return 1 if differences else 0


def record(name: str, folder: Path) -> Iterator[str]:
    """Run with the embedded teacher; keep its ledger, the outputs' hashes and the metrics."""
    with tempfile.TemporaryDirectory() as temporary:
        project = _project(name, Path(temporary) / name)
        yield from _reproduced(project)
        with closing(sqlite3.connect(project.root / ".lion" / "ledger.sqlite")) as connection:
            kept = folder / f"{name}.sqlite"
            kept.unlink(missing_ok=True)
            connection.execute("VACUUM INTO ?", (str(kept),))
        (folder / f"{name}.json").write_text(json.dumps(_outputs(project.root), indent=1))


def check(name: str, folder: Path) -> Iterator[str]:
    """Yield what differs from the record."""
    with tempfile.TemporaryDirectory() as temporary:
        project = _project(name, Path(temporary) / name)
        (project.root / ".lion").mkdir()
        ledger = project.root / ".lion" / "ledger.sqlite"
        ledger.write_bytes((folder / f"{name}.sqlite").read_bytes())
        project.edit({"budget.calls": 0})
        failed = list(_reproduced(project))
        yield from failed
        if failed:
            return
        before, after = json.loads((folder / f"{name}.json").read_text()), _outputs(project.root)
        yield from (f"{name}: {line}" for line in _differences(before, after))
        calls = sum(project.calls(path.stem) for path in (project.root / ".lion/runs").iterdir())
        if calls:
            yield f"{name}: {calls} calls, expected none"


def _project(name: str, root: Path) -> Project:
    root.mkdir()
    project = Project.of_working_tree(root, name)
    iterations = RUNS[name]
    if iterations is not None:
        project.edit({"iterations": iterations})
    project.commit()
    return project


def _reproduced(project: Project) -> Iterator[str]:
    run = project.repro()
    if run.code:
        yield f"{project.root.name}: dvc repro ended with {run.code}:\n{run.output[-3000:]}"


def _outputs(root: Path) -> dict[str, Any]:
    """Return by path: the values of metrics and tables, the SHA-256 of all else."""
    paths = [path for top in OUTPUTS for path in sorted((root / top).rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(root)): _content(path) for path in paths if path.name != ".gitignore"
    }


def _content(path: Path) -> Any:
    if "data" not in path.parts and path.suffix == ".json":
        return dict(_leaves(json.loads(path.read_bytes()), ""))
    if "data" not in path.parts and path.suffix == ".csv":
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        return {name: [row[place] for row in rows] for place, name in enumerate(header)}
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and values of a document; an empty part is a leaf."""
    if not isinstance(value, dict) or not value:
        yield name, value
        return
    for key, part in value.items():
        yield from _leaves(part, f"{name}.{key}" if name else key)


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for path in sorted({*before, *(path for path in after if Path(path).name not in ADDED)}):
        if path not in after or path not in before:
            yield f"{path}: only {'before' if path in before else 'after'}"
        elif isinstance(before[path], str) or isinstance(after[path], str):
            if before[path] != after[path]:
                yield f"{path}: other bytes"
        else:
            renamed = {_renamed(Path(path).name, key): one for key, one in before[path].items()}
            for key in sorted({*renamed, *after[path]}):
                old, new = renamed.get(key, "absent"), after[path].get(key, "absent")
                if old != new and not key.startswith(REVALUED.get(Path(path).name, ())):
                    yield f"{path}: {key}: {old!r} before, {new!r} now"


def _renamed(file: str, name: str) -> str:
    """Return the new name of a field; a rename of a part holds for all that it contains."""
    for old, new in RENAMED.get(file, {}).items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name


if __name__ == "__main__":
    sys.exit(main())
