"""The figures of one finished run of the narrow profile, read from its folder."""

import os
from collections.abc import Mapping
from contextlib import chdir
from typing import Any

import yaml
from pipeline import ROOT, Project

from lion.config import project as paths
from lion.config.validation import read_settings
from lion.metrics.exams import EvaluateMetrics, FieldAccuracy
from lion.metrics.files import RunRecord, read_if
from lion.metrics.pools import GrowMetrics
from lion.reporting.worth import MarkedRun
from lion.stage_table import STAGES

NARROW = yaml.safe_load((ROOT / "profiles" / "narrow.yaml").read_text(encoding="utf-8"))


def figures(project: Project) -> dict[str, Any]:
    """Return marks, fields, seconds and spend of each student, and the teacher's accuracy.

    `marks` has a character for each exam row: 1 right, 0 wrong, - not marked.
    """
    with chdir(project.root):
        settings = read_settings(_filled(NARROW, project.settings()))
        run = MarkedRun(settings)
        names = (paths.BASE, *settings.iterations, *settings.baselines)
        students = {name: _student(run, name) for name in names}
    evaluated = project.metrics(paths.BASE, EvaluateMetrics)
    return {
        "students": students,
        "teacher": {"accuracy_share": evaluated.teacher_accuracy_share, **_fields(evaluated, True)},
        "seconds": sum(student["seconds"] for student in students.values()),
    }


def _filled(defaults: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return params with those that came after a project was begun, at the profile's values."""
    filled = {**defaults, **params}
    for name, value in params.items():
        below = defaults.get(name)
        if isinstance(value, dict) and isinstance(below, dict):
            filled[name] = _filled(below, value)
    return filled


def _student(run: MarkedRun, name: str) -> dict[str, Any]:
    evaluated = run.read(paths.metrics(name, EvaluateMetrics.FILE), EvaluateMetrics)
    assert evaluated is not None
    grown = run.read(paths.metrics(name, GrowMetrics.FILE), GrowMetrics)
    spend = {}
    if grown is not None:
        spend = {
            "rows": grown.rows,
            "weighted_tokens": grown.weighted_tokens,
            "like_weighted_tokens": grown.like_weighted_tokens,
        }
    return {
        "accuracy_share": evaluated.accuracy_share,
        **_fields(evaluated, False),
        "marks": "".join("-" if mark is None else str(int(mark)) for mark in _marks(run, name)),
        "seconds": _seconds(name),
        **spend,
    }


def _marks(run: MarkedRun, name: str) -> list[bool | None]:
    marks = run.marks(name)
    return [marks[id] for id in sorted(marks)]


def _fields(evaluated: EvaluateMetrics, of_teacher: bool) -> dict[str, dict[str, float]]:
    def share(field: FieldAccuracy) -> float:
        estimate = field.teacher if of_teacher else field.student
        assert estimate is not None
        return estimate.value_share

    fields = {} if evaluated.fields is None else evaluated.fields.by_name
    return {"fields": {name: share(field) for name, field in fields.items()}}


def _seconds(name: str) -> float:
    """Return the seconds of all stages of a student, without DVC's own."""
    kinds = dict.fromkeys(stage.kind for stage in STAGES.values())
    records = [read_if(paths.run_record(f"{kind}@{name}"), RunRecord) for kind in kinds]
    return round(sum(record.seconds for record in records if record is not None), 1)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
