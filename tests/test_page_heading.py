"""The top of the report page: each figure under the right student, each verdict of its figures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from examined import lion, write_run
from fixtures import Workplace
from narrow import NARROW

from lion.iterations import Likelihoods
from lion.metrics import files
from lion.metrics.judging import SplitMetrics
from lion.pipeline import revisions
from lion.pipeline.revisions import Place, Workspace
from lion.records import jsonl
from lion.records.rows import Row
from lion.reporting import model_card, page_cards, page_heading, snapshot
from lion.reporting.exam_page import settings_of
from lion.reporting.snapshot import Run
from lion.reporting.worth import MarkedRun, PairedDifference, advice
from lion.statistics import Estimate


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a finished run of the students 0, 1b and 2."""
    monkeypatch.chdir(tmp_path)
    write_run(Workplace(tmp_path, NARROW))
    place = revisions.current_place(Place(Workspace(), "2"))
    return snapshot.read_run(place.tree, "2", snapshot.judged_pool(place))


def with_last(run: Run, **changes: Any) -> Run:
    lineage = [*run.lineage[:-1], replace(run.lineage[-1], **changes)]
    return replace(run, lines=lineage, lineage=lineage)


def tile(run: Run, label: str) -> Row:
    heading = page_heading.heading(run)
    [found] = [row for row in heading["leading"] + heading["tiles"] if row["label"] == label]
    return dict(found)


@pytest.mark.parametrize(
    ("accuracy", "by_rows", "verdict"),
    [
        (0.85, (-0.1, -0.04), ""),  # 80 and 90 % of 900 and 100 rows, the teacher 90 and 70 %
        (0.85, (0.03, 0.09), "Better than its teacher, row by row"),
        (0.85, (-0.02, 0.06), "No clear difference from its teacher, row by row"),
        (0.75, (-0.08, -0.02), "Worse than its teacher"),  # categories of one size
    ],
)
def test_a_verdict_over_rows_is_not_one_over_categories(
    accuracy: float, by_rows: tuple[float, float], verdict: str, run: Run
) -> None:
    changed = with_last(
        run,
        accuracy_share=accuracy,
        teacher_accuracy_share=0.8,
        accuracy_share_difference=sum(by_rows) / 2,
        accuracy_share_difference_interval=by_rows,
    )
    assert tile(changed, "Right on the exam")["verdict"] == verdict


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (0.75, "better than its teacher by row, -5.0 points by category."),
        (0.87, "better than its teacher."),
    ],
)
def test_an_advice_by_row_has_the_points_by_category(accuracy: float, words: str, run: Run) -> None:
    changes = {"accuracy_share": accuracy, "teacher_accuracy_share": 0.8}
    changes |= {"accuracy_share_difference": 0.87 - 0.8}
    bounds = {"accuracy_share_difference_interval": (0.02, 0.12)}
    last = with_last(run, **changes, **bounds).lineage[-1]
    gain = PairedDifference("2", "1b", Estimate(0.1, 0.0, 0.2, 6))
    said = advice(last, gain, [], settings_of(run.tree), "free")
    assert said == f"Ship student 2: it is {words}"


def test_hard_is_of_the_student_whose_answers_were_judged(run: Run) -> None:
    assert tile(run, "Hard for student 1b")["value"] == "-"
    *_, table = (card for card in page_cards.progress_cards(run) if card)
    assert table["table"]["columns"][0] == "iteration"
    assert "hard: of the previous student's answers" in table["note"]
    ranked = with_last(run, likelihood=Likelihoods(9, 1.0, None, 0, None, None))
    *_, table = (card for card in page_cards.progress_cards(ranked) if card)
    assert "hard: of the teacher's answers, those least likely" in table["note"]


def test_the_heading_names_the_level_of_intervals_and_what_tokens_are(run: Run) -> None:
    facts = {fact["label"]: fact["value"] for fact in page_heading.heading(run)["facts"]}
    assert facts["Intervals"] == "95 % confidence"
    assert tile(run, "Tokens")["note"] == "of prompts and replies, all roles"
    gain = tile(run, "Gain over student 1b")
    assert gain["verdict"] == "May be chance"
    assert gain["note"].endswith("; 6 exam rows of both, each counting the same")


def test_a_students_answers_are_marked_once(run: Run) -> None:
    """Advice, comparisons and tiles compare the same students many times."""
    looked_up: list[Path] = []
    marked = MarkedRun(
        settings_of(run.tree), has=lambda path: not looked_up.append(path) and path.exists()
    )
    assert marked.marks("2") == marked.marks("2") != {}
    assert len(looked_up) == len(set(looked_up))


@pytest.mark.parametrize("name", ["data/2/verdicts.jsonl", "data/2/exam_responses.jsonl"])
def test_a_damaged_file_of_rows_does_not_take_the_table(name: str, run: Run) -> None:
    """The run has succeeded: the figures are printed, and the file is named."""
    assert run.lineage[-1].iteration == "2"
    for key, share in (("1b", 0.4), ("2", 0.3)):
        split = SplitMetrics(1, 2, 0, share, 0.5, agreement_share=None, stopped=None)
        files.write_metrics(Path(f"metrics/{key}/split.json"), split)
    jsonl.write(Path("data/1b/train_pool.jsonl"), [])
    Path(name).write_text('{"format": 1', encoding="utf-8")
    printed = " ".join(lion("table").stdout.split())
    assert "Student 2 on the exam: 50.0 %" in printed
    assert f"is left out: {name}, line 1" in printed


def test_the_quality_names_who_graded_it(run: Run) -> None:
    settings = settings_of(run.tree)
    graded = with_last(run, quality_percent=90.0, quality_percent_interval=(85.0, 95.0))
    assert tile(graded, "Quality")["note"].endswith(
        f"of the teacher's points, by {settings.referee.model}, the loop's referee"
    )


@pytest.mark.parametrize("own", [False, True])
def test_a_model_card_names_who_graded_the_quality(run: Run, own: bool) -> None:
    settings = settings_of(run.tree)
    if own:
        other = settings.referee.model_copy(update={"model": "g-2"})
        evaluate = settings.evaluate.model_copy(update={"referee": other})
        settings = settings.model_copy(update={"evaluate": evaluate})
    text = " ".join(model_card._scores(settings, "2"))
    grader = "g-2, the exam's referee" if own else f"{settings.referee.model}, the loop's referee"
    assert f"over the teacher's, by {grader}. A dash is not known." in text
