"""The words below the closing table: what columns mean, and why a figure rose or fell."""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from fixtures import Configure, Workplace
from pooled import instruction, verdict
from rich.console import Console

from lion import iterations
from lion.config import project
from lion.iterations import IterationMetrics
from lion.metrics import files
from lion.metrics.judging import AgreementMetrics, Audited, Contradictions, Noise
from lion.metrics.pools import GenerateMetrics
from lion.metrics.units import Funnel, RoleUsage
from lion.records import jsonl
from lion.records.rows import Instruction, Verdict
from lion.reporting import column_words
from lion.reporting.worth import MarkedRun

PAIR = {"1": "0", "2": "1"}
USED = RoleUsage(
    requests=1, failed=0, prompt_tokens=1, completion_tokens=1, replies_without_usage=0
)


@pytest.fixture
def lines(workplace: Workplace) -> list[IterationMetrics]:
    """Return iterations without files, to be filled."""
    assert workplace is not None  # the working folder is a project without outputs
    return iterations.lines(PAIR)


def filled(lines: list[IterationMetrics], **values: tuple[Any, Any, Any]) -> list[IterationMetrics]:
    """Return the lines with fields set, each by its values in 0, 1 and 2."""
    return [
        replace(line, **{name: three[n] for name, three in values.items()})
        for n, line in enumerate(lines)
    ]


def compared(*, earlier: float, new: float, older: float, rows: int = 100) -> None:
    """Write verdicts: hard shares in iteration 1, and in 2 of the rows that 1 wrote and of older.

    Iteration 1 compared twice the `rows`.
    """
    parts = {name: [instruction(f"{name} {n}") for n in range(rows)] for name in ("new", "older")}
    write("1/train_pool.jsonl", parts["new"])
    write(
        "1/verdicts.jsonl", judged([instruction(f"earlier {n}") for n in range(2 * rows)], earlier)
    )
    write("2/verdicts.jsonl", judged(parts["new"], new) + judged(parts["older"], older))


def judged(rows: list[Instruction], hard_share: float) -> list[Verdict]:
    return [
        verdict(row.id, 3.0 if n < hard_share * len(rows) else 0.0) for n, row in enumerate(rows)
    ]


def write(name: str, rows: list[Any]) -> None:
    path = Path("data", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    jsonl.write(path, rows)


def reasons(lines: list[IterationMetrics], workplace: Workplace) -> list[str]:
    return column_words.change_reasons(lines, MarkedRun(workplace.params({})))


@pytest.mark.parametrize(
    ("earlier", "new", "older", "reason"),
    [
        (0.3, 0.6, 0.2, "rose from 30.0 % to 40.0 % in iteration 2, mostly on new instructions"),
        (
            0.4,
            0.202,
            0.398,
            "fell from 40.0 % to 30.0 % in iteration 2, mostly on new instructions",
        ),
        (0.3, 0.302, 0.498, "to 40.0 % in iteration 2, mostly on older instructions: "),
        (0.3, 0.41, 0.39, "to 40.0 % in iteration 2, on new and older instructions: "),
    ],
)
def test_hard_moves_where_the_change_lies(
    earlier: float,
    new: float,
    older: float,
    reason: str,
    lines: list[IterationMetrics],
    workplace: Workplace,
) -> None:
    compared(earlier=earlier, new=new, older=older, rows=500)
    after = (new + older) / 2
    [sentence] = reasons(filled(lines, hard_share=(None, earlier, after)), workplace)
    assert reason in sentence
    assert sentence.endswith(
        f": {100 * new:.1f} % of the 500 compared instructions that iteration 1 wrote are hard, "
        f"{100 * older:.1f} % of the 500 older ones."
    )


@pytest.mark.parametrize(("new", "older"), [(0.36, 0.3), (0.42, 0.32), (0.36, 0.36)])
def test_hard_has_no_reason_within_the_noise_of_its_rows(
    new: float, older: float, lines: list[IterationMetrics], workplace: Workplace
) -> None:
    after = (new + older) / 2
    compared(earlier=0.3, new=new, older=older, rows=50)
    changed = filled(lines, hard_share=(None, 0.3, after))
    assert reasons(changed, workplace) == []


def test_hard_has_no_reason_where_tau_moved(
    lines: list[IterationMetrics], workplace: Workplace
) -> None:
    compared(earlier=0.3, new=0.6, older=0.2)
    changed = filled(lines, hard_share=(None, 0.3, 0.4))
    for name, tau in (("1", 1.0), ("2", 1.0)):
        write_tau(name, tau)
    assert len(reasons(changed, workplace)) == 1
    write_tau("2", 1.4)
    assert reasons(changed, workplace) == []


def write_tau(name: str, tau: float) -> None:
    path = project.metrics(name, AgreementMetrics.FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = Noise(deviation_points=0.5, tau_points=tau, within_share=None)
    files.write_metrics(
        path, AgreementMetrics(None, Audited(0, 0, 0, 0), Contradictions(0, 0), noise, {})
    )


def test_no_reason_without_a_change_or_enough_rows(
    lines: list[IterationMetrics], workplace: Workplace
) -> None:
    changed = filled(lines, hard_share=(None, 0.3, 0.4))
    assert reasons(changed, workplace) == []  # the rows are on another machine
    compared(earlier=0.3, new=0.6, older=0.2)
    assert len(reasons(changed, workplace)) == 1
    assert reasons(filled(lines, hard_share=(None, 0.3, 0.305)), workplace) == []
    Path("data/1/verdicts.jsonl").unlink()
    assert reasons(changed, workplace) == []
    compared(earlier=0.3, new=0.6, older=0.2, rows=20)
    assert reasons(changed, workplace) == []


def test_kept_moves_by_the_reason_that_moved_most(
    lines: list[IterationMetrics], workplace: Workplace
) -> None:
    funnels = {
        "1": Funnel(asked=100, kept=96, duplicate=3, malformed=1),
        "2": Funnel(asked=200, kept=160, duplicate=38, malformed=2),
    }
    for name, funnel in funnels.items():
        path = project.metrics(name, GenerateMetrics.FILE)
        path.parent.mkdir(parents=True, exist_ok=True)
        nothing = Funnel(asked=0, kept=0)
        files.write_metrics(path, GenerateMetrics(1, funnel, nothing, {}, (), None, USED))
    [sentence] = reasons(filled(lines, asked=(None, 100, 200), kept=(None, 96, 160)), workplace)
    assert sentence == (
        "kept fell from 96.0 % to 80.0 % in iteration 2: most of all by the reason `duplicate` "
        "(docs/concepts/pools.md), which dropped 3.0 % of the candidates, then 19.0 %."
    )


def test_tokens_and_calls_name_roles_and_the_ledger(
    lines: list[IterationMetrics], workplace: Workplace
) -> None:
    roles = ({"teacher": 100}, {"teacher": 60, "referee": 140}, {"teacher": 60, "referee": 150})
    changed = filled(
        lines,
        tokens=(100, 200, 210),
        tokens_by_role=roles,
        requests=(10, 20, 20),
        calls=(10, 15, None),
        hits=(None, 7, None),
    )
    assert reasons(changed, workplace) == [
        "tokens rose from 100 to 200 in iteration 1: teacher -40, referee +140.",
        "calls: 7 replies came from the ledger, without a call.",
    ]


def test_what_another_machine_asked_is_not_from_the_ledger(
    lines: list[IterationMetrics], workplace: Workplace
) -> None:
    """After `dvc pull`, only the exam runs here: its record alone tells of the ledger."""
    pulled = filled(lines, requests=(10, 500, 500), calls=(None, 3, None), hits=(None, 0, None))
    assert reasons(pulled, workplace) == []


def test_columns_without_figures_are_not_explained(lines: list[IterationMetrics]) -> None:
    shown = Console(file=StringIO(), width=80)
    shown.print(
        column_words.legend(
            filled(lines, train_pool=(4, 4, 4), hard_share=(None, 0.1, 0.2)),
            "m, the loop's referee",
        )
    )
    written = shown.file.getvalue()  # type: ignore[attr-defined]
    assert [line.split()[0] for line in written.splitlines()] == ["train", "hard"]


def test_a_column_takes_one_line_of_80(lines: list[IterationMetrics]) -> None:
    every = {name: (1, 1, 1) for name, _ in column_words._WORDS.values()}
    shown = Console(file=StringIO(), width=80)
    shown.print(
        column_words.legend(filled(lines, **every), "claude-sonnet-4-5, the loop's referee")
    )
    assert len(shown.file.getvalue().splitlines()) == len(column_words._WORDS)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("own", "grader"), [(False, "judge-1, the loop's"), (True, "g-2, the exam's")]
)
def test_the_closing_table_says_who_graded_the_quality(
    lines: list[IterationMetrics], configure: Configure, own: bool, grader: str
) -> None:
    settings = configure({"referee.model": "judge-1"})
    if own:
        other = settings.referee.model_copy(update={"model": "g-2"})
        evaluate = settings.evaluate.model_copy(update={"referee": other})
        settings = settings.model_copy(update={"evaluate": evaluate})
    shown = Console(file=StringIO(), width=80)
    shown.print(column_words.legend(filled(lines, quality_percent=(1, 2, 3)), settings.grader))
    written = shown.file.getvalue()  # type: ignore[attr-defined]
    assert f"quality points by {grader} referee, in % of the teacher's" in written
