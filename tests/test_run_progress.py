"""The place of a stage in `lion run`, and the time left by the records of earlier runs."""

from collections.abc import Sequence

import pytest
from fixtures import Workplace
from running import Finished

from lion.config import project
from lion.metrics import files
from lion.metrics.files import RunRecord
from lion.pipeline import dvc_graph
from lion.pipeline.run_progress import RunOrder, recorded_seconds

STAGES = ("seed@0", "teach@0", "tune@0", "review@1", "tune@1", "report@0")
SECONDS = {"seed@0": 30.0, "teach@0": 100.0, "tune@0": 500.0, "review@1": 60.0, "tune@1": 1200.0}


@pytest.mark.parametrize(
    ("skipped", "name", "seconds", "expected"),
    [
        ((), "seed@0", SECONDS, "stage 1 of 6: seed@0, 32 min left of the run, by the last runs"),
        # stages that DVC skips are counted, and take no time
        (
            ("tune@0", "teach@0"),
            "review@1",
            SECONDS,
            "stage 4 of 6: review@1, 21 min left of the run, by the last runs",
        ),
        (
            ("tune@1",),
            "teach@0",
            SECONDS,
            "stage 2 of 6: teach@0, 11 min left of the run, by the last runs",
        ),
        # a sum with an unknown part is no time, but the closing report is not awaited
        ((), "seed@0", {**SECONDS, "tune@1": None}, "stage 1 of 6: seed@0"),
        ((), "report@0", SECONDS, "stage 6 of 6: report@0"),
        ((), "tune@9", SECONDS, None),
    ],
)
def test_a_stage_says_its_place(
    skipped: Sequence[str], name: str, seconds: dict[str, float | None], expected: str | None
) -> None:
    order = RunOrder(STAGES, frozenset(STAGES) - set(skipped))
    assert order.sentence(name, seconds.get) == expected


def test_the_order_passes_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    order = RunOrder(STAGES, frozenset(STAGES[2:]))
    assert RunOrder.of_environment() is None  # a bare `dvc repro`
    for name, value in order.as_environment().items():
        monkeypatch.setenv(name, value)
    assert RunOrder.of_environment() == order


def recorded(name: str, seconds: float, finished: bool = True) -> None:
    files.write_metrics(
        project.run_record(name), RunRecord(finished, int(not finished), seconds, {})
    )


def test_seconds_are_those_of_the_stage_or_of_an_iteration_with_the_same_params(
    workplace: Workplace,
) -> None:
    """Killed stages and iterations with other params tell nothing."""
    entry = {"previous": "0", "generate": {}, "tune": {}}
    iterations = {
        "1": entry,
        "2": {**entry, "previous": "1"},
        "3": {**entry, "previous": "2", "tune": {"steps": 7}},
    }
    settings = workplace.params({"iterations": iterations})
    recorded("tune@0", 900.0)
    recorded("tune@1", 40.0)
    recorded("tune@2", 5.0, finished=False)
    recorded("teach@3", 8.0)
    seconds_of = recorded_seconds(settings)
    names = ("tune@0", "tune@1", "tune@2", "tune@3", "teach@1", "teach@3", "split@1")
    assert [seconds_of(name) for name in names] == [900.0, 40.0, 40.0, None, None, 8.0, None]


@pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # in DVC's own use of pygtrie
def test_the_order_is_that_of_dvc(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a real `dvc repro` went through them; of a finished run all are skipped."""
    monkeypatch.chdir(finished.project.root)
    order = dvc_graph.run_order([[]])
    forced = dvc_graph.run_order([["--force", "base-evaluate"], ["--force"]])
    assert order is not None and forced is not None
    names = [
        name.replace("base-", "") + ("" if "@" in name else "@0") for name in finished.run.stages
    ]
    assert list(order.stages) == list(forced.stages) == names
    assert (order.to_run, forced.to_run) == (frozenset(), frozenset(names))
    assert dvc_graph.run_order([["--downstream", "base-evaluate"]]) is None
    assert "stage 1 of" not in finished.run.output  # by a bare `dvc repro`
