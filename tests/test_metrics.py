"""Files of metrics: the unit in each field's name, and one door that refuses what is unknown."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect
from msgspec.structs import asdict, fields, replace
from pipeline import ROOT
from running import Finished

from lion.errors import DataError
from lion.metrics import exams, files, judging, pools, units
from lion.metrics import files as runs
from lion.metrics.exams import EvaluateMetrics, HeadlineMetrics
from lion.metrics.files import CallStats, RunRecord
from lion.metrics.judging import ReviewMetrics, SplitMetrics, Stop
from lion.metrics.pools import GenerateMetrics
from lion.metrics.units import UNITS, Embedded, Funnel, Metrics, RoleUsage
from lion.records import jsonl

BASES = {"Metrics", "IntervalMetrics", "EstimateMetrics"}
STRUCTS = {
    name: one
    for module in (exams, judging, pools, runs, units)
    for name, one in vars(module).items()
    if isinstance(one, type) and issubclass(one, Metrics) and name not in BASES
}
COUNTS = {
    *("rows", "seeds", "classification_rows", "exam", "new", "taught", "cache_pool", "count"),
    *("new_rows", "old_rows", "truncated", "steps", "dropped", "short", "pool", "not_embedded"),
    *("requests", "failed", "replies_without_usage"),
    *("responses", "judged", "reviews", "samples", "hard", "easy", "undecided", "ties", "basis"),
    *("decided", "unchecked", "audited", "agreeing", "both_orders", "contradictory"),
    *(
        *("confusion_rows", "validation_rows", "best_step"),
        "accuracy_rows",
        "teacher_accuracy_rows",
        "difference_rows",
        "quality_rows",
    ),
    *("items", "official_items", "win", "tie", "loss", "questions"),
    *("needed", "hits", "calls", "retries", "wasted", "throttled", "billed", "unpriced"),
}
"""Whole numbers of things that their names say."""
LABELS = {"item", "exit_code", "setting", "candidate", "stated", "read"}
"""Numbers that are names, and the scores that a user's own file brings."""


def numbers(kind: inspect.Type) -> Iterator[inspect.Type]:
    """Yield the types of the numbers that a field of this type holds itself, structs apart."""
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        yield kind
    parts: list[inspect.Type] = []
    if isinstance(kind, inspect.UnionType):
        parts = list(kind.types)
    elif isinstance(kind, inspect.DictType):
        parts = [kind.value_type]
    elif isinstance(kind, inspect.TupleType):
        parts = list(kind.item_types)
    elif isinstance(kind, inspect.VarTupleType):
        parts = [kind.item_type]
    for part in parts:
        yield from numbers(part)


def measured(kind: type[Metrics]) -> Iterator[tuple[str, list[inspect.Type]]]:
    """Yield the names and types of a struct's numbers."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        found = list(numbers(field.type))
        if found:
            yield field.name, found


def sample(kind: type[Metrics]) -> Metrics:
    """Return a struct of that kind in which every value is one of its unit."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return kind(**{field.name: value(field.type, field.name) for field in info.fields})


def value(kind: inspect.Type, name: str) -> Any:
    """Return a value of a type for a field of that name."""
    simple: dict[type[inspect.Type], Any] = {
        inspect.BoolType: True,
        inspect.IntType: 1,
        inspect.FloatType: 50.0 if name.endswith("_percent") else 0.5,
        inspect.StrType: "x",
        inspect.LiteralType: "both_orders",
        inspect.CustomType: Funnel(asked=2, kept=1, duplicate=1),
    }
    if type(kind) in simple:
        return simple[type(kind)]
    match kind:
        case inspect.UnionType():
            return value(next(one for one in kind.types if one != inspect.NoneType()), name)
        case inspect.DictType():
            return {value(kind.key_type, name): value(kind.value_type, name)}
        case inspect.TupleType():
            return tuple(value(one, name) for one in kind.item_types)
        case inspect.VarTupleType():
            return (value(kind.item_type, name),)
        case inspect.StructType():
            return sample(kind.cls)
    raise AssertionError(f"{name}: a type that this test does not know: {kind}")


@pytest.mark.parametrize("name", STRUCTS)
def test_every_number_has_its_unit_in_its_name_or_is_a_listed_count(name: str) -> None:
    for field, found in measured(STRUCTS[name]):
        known = any(field.endswith(unit) for unit in UNITS)
        whole = all(isinstance(one, inspect.IntType) for one in found)
        assert known or (field in COUNTS and whole) or field in LABELS, field


@pytest.mark.parametrize("name", STRUCTS)
def test_a_value_of_another_unit_is_refused_where_it_is_made_and_where_it_is_read(
    name: str, tmp_path: Path
) -> None:
    """A per cent for a share or for points, a share for a quality; no count is negative."""
    kind, found = STRUCTS[name], sample(STRUCTS[name])
    path = tmp_path / "found.json"
    files.write_metrics(path, found)
    assert files.read_metrics(path, kind) == found
    document = json.loads(path.read_bytes())
    for field, _ in measured(kind):
        for wrong in planted(field):
            with pytest.raises(DataError, match=field):
                replace(found, **{field: refilled(getattr(found, field), wrong)})
            jsonl.write_document(
                path, {**document, field: refilled(document[field], wrong), "format": 1}
            )
            with pytest.raises(DataError, match=r"found\.json: .*(expected|Expected)"):
                files.read_metrics(path, kind)


def planted(field: str) -> list[float]:
    """Return values that a field of that name must not have."""
    if field in LABELS or field == "tau_points" or field.endswith("_points_sum"):
        return []  # of any size: params ask for tau, and a user's reviews are on any scale
    if field in ("quality_percent", "chance_percent"):
        return [0.425]
    narrow = ("_share", "_share_difference", "_correlation", "_points")
    return [42.5] if field.endswith(narrow) else [-3.0]


def refilled(kept: Any, number: float) -> Any:
    """Return the same shape with that number in it."""
    if isinstance(kept, dict):
        return dict.fromkeys(kept, number)
    if isinstance(kept, list | tuple):
        return type(kept)([number] * len(kept))
    return number


def test_a_figure_that_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="accuracy_share"):
        HeadlineMetrics(float("nan"), None, None)


# --- what a run wrote -------------------------------------------------------------------------


def stage_files() -> dict[str, type[Metrics]]:
    return {one.FILE: one for one in STRUCTS.values() if hasattr(one, "FILE")}


@pytest.mark.parametrize("key", ["0", "1"])
def test_a_real_runs_files_are_read_and_written_as_they_were(
    finished: Finished, key: str, tmp_path: Path
) -> None:
    found = sorted((finished.project.root / "metrics" / key).glob("*.json"))
    assert len(found) >= 4
    for path in found:
        kept = files.read_metrics(path, stage_files()[path.stem])
        files.write_metrics(tmp_path / path.name, kept)
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_what_a_real_run_did_is_read(finished: Finished) -> None:
    records = list((finished.project.root / ".lion" / "runs").glob("*.json"))
    assert records
    assert all(files.read_metrics(path, RunRecord).finished for path in records)
    stop = files.read_metrics(finished.project.root / "data" / "1" / "stop.json", Stop)
    assert stop == Stop(stop=False, reason=None)


def test_shares_and_per_cents_of_a_real_run_are_those_of_its_counts(finished: Finished) -> None:
    """Recounted from the rows: no figure is off by a factor of a hundred."""
    project = finished.project
    split = project.metrics("1", SplitMetrics)
    verdicts = project.rows("1/verdicts.jsonl")
    counts = {kind: sum(row["difficulty"] == kind for row in verdicts) for kind in ("hard", "easy")}
    assert (split.hard, split.easy) == (counts["hard"], counts["easy"])
    assert split.hard_share == pytest.approx(counts["hard"] / (counts["hard"] + counts["easy"]))
    exam = project.metrics("1", EvaluateMetrics)
    assert exam.teacher_accuracy_share is not None and exam.accuracy_share is not None
    assert exam.accuracy_share_difference == pytest.approx(
        exam.accuracy_share - exam.teacher_accuracy_share
    )
    shares = list(exam.category_accuracy_share.values())
    assert exam.accuracy_share == pytest.approx(sum(shares) / len(shares))


# --- what is refused --------------------------------------------------------------------------

OLDER = {"hard": 1, "easy": 2, "undecided": 0, "hard_share": 0.5, "mean_gap": 1.0}


def test_older_names_are_refused_with_the_next_action(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    jsonl.write_document(path, {**OLDER, "agreement": 1.0, "stopped": None})
    with pytest.raises(DataError) as told:
        files.read_metrics(path, SplitMetrics)
    for part in (str(path), "mean_gap", "mean_gap_points", "`dvc repro` writes it again"):
        assert part in str(told.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hard": "1"}, r"Expected `int`, got `str` - at `\$.hard`"),
        ({"hard": True}, r"Expected `int`, got `bool` - at `\$.hard`"),
        ({"hard": 1.5}, r"Expected `int`, got `float` - at `\$.hard`"),
        ({"hard_share": "0.5"}, r"Expected `float \| null`, got `str` - at `\$.hard_share`"),
        ({"more": 1}, "unknown field `more`"),
        ({"format": 2}, "format 2 is not 1"),
    ],
)
def test_a_file_of_another_shape_is_refused_by_its_field(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    path = tmp_path / "split.json"
    files.write_metrics(path, sample(SplitMetrics))
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))
    with pytest.raises(DataError, match=told) as error:
        files.read_metrics(path, SplitMetrics)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", STRUCTS)
def test_a_field_that_is_missing_is_named(name: str) -> None:
    kind = STRUCTS[name]
    document = files.as_document(sample(kind))
    for field in fields(kind):
        if field.required:
            less = {key: part for key, part in document.items() if key != field.name}
            with pytest.raises(msgspec.ValidationError, match=f"required field `{field.name}`"):
                msgspec.convert(less, kind, dec_hook=units.decoded)


def test_a_funnel_holds_counts_alone(tmp_path: Path) -> None:
    path = tmp_path / "generate.json"
    files.write_metrics(path, sample(GenerateMetrics))
    document = json.loads(path.read_bytes())
    for wrong in ({"asked": "2"}, {"asked": -1}, {"asked": True}, [1]):
        path.write_text(json.dumps({**document, "hard": wrong}))
        with pytest.raises(DataError, match=r"count.* is expected"):
            files.read_metrics(path, GenerateMetrics)


def test_a_record_of_an_older_version_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "teach@0.json"
    jsonl.write_document(path, {"finished": True, "exit_code": 0, "seconds": 1.0})
    with pytest.raises(DataError, match=r"required field `asked`.*Delete it"):
        files.read_metrics(path, RunRecord)


def test_no_module_but_this_one_reads_documents_of_metrics() -> None:
    """`jsonl.read_document` gives an object of string keys: who calls it reads no metrics."""
    others = {
        "lion/inference/batch_inference.py": "the task of a launched process",
        "lion/serving/delta.py": "a delta's manifest",
        "lion/student/checkpoint.py": "a student's pointer",
        "lion/student/prompt.py": "the form of its prompts that a student learnt",
        "lion/student/student_formatter.py": "the format that a student was tuned in",
        "lion/training/finetune_job.py": "what a launched process is told, and tells",
        "lion/training/validation.py": "what a killed training resumes with",
        "lion/pipeline/stage.py": "the further exams",
    }
    callers = {
        str(path.relative_to(ROOT))
        for folder in ("lion", "stages")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "jsonl.read_document"
    }
    assert callers == {*others, "lion/metrics/files.py"}


# --- what structs tell ------------------------------------------------------------------------

USED = RoleUsage(2, 0, 10, 5, 0)


def test_a_role_that_was_asked_nothing_is_an_empty_object(tmp_path: Path) -> None:
    """So it was before there were structs, and so it stays."""
    path = tmp_path / "review.json"
    found = ReviewMetrics(responses=1, judged=1, reviews=2, dropped={}, referee=None)
    files.write_metrics(path, found)
    assert json.loads(path.read_bytes())["referee"] == {}
    assert files.read_metrics(path, ReviewMetrics) == found
    assert found.used == {}
    assert replace(found, referee=USED).used == {"referee": USED}


def test_an_embedder_that_is_an_endpoint_is_a_role() -> None:
    assert Embedded.of(3, 1, None).asked is None
    assert files.as_document(Embedded.of(3, 1, None)) == {"pool": 3, "not_embedded": 1}
    found = Embedded.of(3, 1, USED)
    assert found.asked == USED
    made = sample(GenerateMetrics)
    assert isinstance(made, GenerateMetrics)
    assert replace(made, embedder=found, safety=None).used == {
        "generator": made.generator,
        "embedder": USED,
    }


def test_a_run_that_goes_on_counts_what_the_one_before_did() -> None:
    """Latencies, and what the inputs need, are those of the later run."""
    before, now = sample(CallStats), replace(sample(CallStats), calls=4, p50_seconds=2.0, needed=9)
    assert isinstance(before, CallStats) and isinstance(now, CallStats)
    both = now.add_earlier(before)
    assert (both.calls, both.seconds, both.p50_seconds, both.needed) == (5, 1.0, 2.0, 9)
    latest = {"needed", "p50_seconds", "p90_seconds", "p99_seconds"}
    assert all(
        getattr(both, name) == getattr(now, name) + (0 if name in latest else getattr(before, name))
        for name in asdict(both)
    )
