"""The stage `bootstrap`: from a few tasks to a base pool, on loopback and under a real DVC."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from composer import compose
from fake_server import Behaviour, Call, ChatServer, embeds, refuses, says
from fixtures import ROOT, Workplace
from pipeline import Project

from lion import iterations
from lion.config import project
from lion.config.settings import Settings
from lion.errors import DataError, TooManyDroppedError
from lion.generation import seed_pool
from lion.generation.filters import decontamination
from lion.llm.prices import Prices
from lion.metrics import files
from lion.metrics.pools import BootstrapMetrics
from lion.pipeline import plan
from lion.pipeline.checks.offline import without_keys
from lion.pipeline.stage import Work
from lion.records import jsonl
from lion.records.rows import Dropped
from stages import bootstrap

POOL = str(project.BOOTSTRAPPED)
MINE = [
    {"instruction": "Explain to a guest how our coffee machine works", "output": "Press."},
    {"instruction": "Which is it, a bill or a reminder?", "input": "Please pay by Friday.",
     "output": "a bill", "classification": True},
    {"instruction": "Write a notice for the door: closed on Monday", "output": "Closed."},
    {"instruction": "Sum up the week of the bakery in three points", "output": "..."},
    {"instruction": "Spam or not?", "input": "You have won!", "is_classification": True,
     "output": "spam"},
]  # fmt: skip


def measured() -> BootstrapMetrics:
    return files.read_metrics(project.metrics("0", "bootstrap"), BootstrapMetrics)


def composed(call: Call) -> Behaviour:
    return says(compose(call.body))


def changes(url: str, size: int, entry: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return changes of params for growing a pool of `size` from inputs/mine.jsonl."""
    grown = {
        "seeds": ["inputs/mine.jsonl"],
        "size": size,
        "classification": 0.4,
        "per_call": 5,
        "from_seeds": 2,
        "from_made": 1,
        "requests_per_round": 4,
        "generate": {"novelty": 0.7},
        **(entry or {}),
    }
    roles = ("teacher", "referee", "generator")
    return {
        "bootstrap": {"0": grown},
        "seed.source": [POOL],
        "seed.depends_on": POOL,
        "exam.size": 40,
        "generate.hard": 10,
        "generate.easy": 10,
        "api.tries": 1,
        **{f"{role}.base_url": url for role in roles},
        **{f"{role}.api_key_env": None for role in roles},
    }


Start = Callable[..., Work]


@pytest.fixture
def start(workplace: Workplace, chat_server: ChatServer) -> Start:
    """Return what makes the stage ready, before a generator on loopback that composes."""
    chat_server.answer = composed

    def made(size: int = 40, rows: Any = MINE, **more: Any) -> Work:
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (workplace.path / "inputs" / "mine.jsonl").write_text(text)
        entry = more.pop("entry", {})
        return Work(
            "bootstrap", "0", workplace.params({**changes(chat_server.url, size, entry), **more})
        )

    return made


def pool() -> list[dict[str, Any]]:
    return jsonl.read_objects(project.BOOTSTRAPPED)


def test_a_pool_of_the_size_asked_grows_from_five_tasks(start: Start) -> None:
    """The seeds come first, as they are; the kinds are in the balance asked for."""
    told = bootstrap.main(start())
    assert told.startswith("5 seeds and 35 new tasks")
    rows = pool()
    assert len({row["id"] for row in rows}) == 40
    assert [row["classification"] for row in rows[:5]] == [False, True, False, False, True]
    assert rows[1]["expected"] == "a bill"
    assert sum(row["classification"] for row in rows) == 16
    known = {row["id"] for row in rows}
    assert all(set(row["examples"]) < known for row in rows[5:])


def test_seed_reads_what_bootstrap_wrote(start: Start) -> None:
    """Ids are content hashes: they lead from the base pool back to what was shown."""
    work = start()
    bootstrap.main(work)
    found, dropped = seed_pool.base_pool(work.settings.seed, 0)
    assert dropped == []
    assert [row.id for row in found] == [row["id"] for row in pool()]


def test_the_order_of_arrival_never_shows(start: Start, chat_server: ChatServer) -> None:
    work = start()
    bootstrap.main(work)
    first = project.BOOTSTRAPPED.read_bytes()
    project.ledger().unlink()
    jitter = random.Random(1)
    chat_server.answer = lambda call: replace(composed(call), delay=jitter.random() / 20)
    bootstrap.main(Work("bootstrap", "0", work.settings))
    assert project.BOOTSTRAPPED.read_bytes() == first


def test_what_was_paid_for_is_not_asked_again(start: Start, chat_server: ChatServer) -> None:
    work = start()
    bootstrap.main(work)
    asked, first = len(chat_server.calls), project.BOOTSTRAPPED.read_bytes()
    assert asked == chat_server.distinct
    project.BOOTSTRAPPED.unlink()
    bootstrap.main(Work("bootstrap", "0", work.settings))
    assert len(chat_server.calls) == asked
    assert project.BOOTSTRAPPED.read_bytes() == first


def test_tasks_that_were_made_are_shown_to_make_more(start: Start, chat_server: ChatServer) -> None:
    bootstrap.main(start(size=80))
    seeds = {row["id"] for row in pool()[:5]}
    assert any(set(row["examples"]) - seeds for row in pool()[5:])
    assert max(question.count("[Task ") for question in chat_server.questions) == 3 + 2


def test_a_dry_well_is_told_and_what_was_found_is_kept(
    start: Start, chat_server: ChatServer
) -> None:
    def repeats(call: Call) -> Behaviour:
        shown = call.question.split("[Task 1 ")[1]
        return says(f"[Task 9 {shown[:8]}]\nAlways the very same new task, again and again")

    chat_server.answer = repeats
    told = bootstrap.main(start())
    assert "acceptance too low: 13 classification too few, 21 open too few" in told
    assert measured().short == {
        "classification": 13,
        "open": 21,
    }
    assert len(pool()) == 6


def test_an_endpoint_that_goes_down_stops_the_stage(start: Start, chat_server: ChatServer) -> None:
    chat_server.answer = lambda call: composed(call) if call.number <= 3 else refuses(503, "Down.")
    work = start()
    with pytest.raises(TooManyDroppedError, match="http_503"):
        bootstrap.main(work)
    assert not project.BOOTSTRAPPED.exists()
    chat_server.answer = composed
    assert bootstrap.main(work).startswith("5 seeds and 35 new tasks")


def test_every_drop_is_written_with_its_reason(start: Start) -> None:
    bootstrap.main(start(size=150))
    metrics = measured()
    rows = jsonl.read_objects(project.data("0", "dropped.bootstrap.jsonl"))
    dropped = [jsonl.parsed(row, Dropped) for row in rows if "reason" in row]
    assert {"not_novel", "too_short"} <= {row.reason for row in dropped}
    for kind in ("classification", "open"):
        funnel = metrics.funnels[kind]
        assert funnel.asked == funnel.kept + sum(funnel.dropped.values())
    assert rows[-1]["dropped"] == len(dropped)


def test_a_seed_that_meets_the_exam_is_never_shown(start: Start, chat_server: ChatServer) -> None:
    exam = {"instruction": "Name the capital of Mongolia, please", "output": "Ulaanbaatar"}
    leaked = {"instruction": "Quick: name the capital of Mongolia please!", "output": "x"}
    Path("inputs/exam.jsonl").write_text(json.dumps(exam))
    more = {"exam.file": "inputs/exam.jsonl"}
    with pytest.raises(DataError, match="meet the exam"):
        bootstrap.main(start(rows=[*MINE, leaked], **more))
    assert chat_server.calls == []
    told = bootstrap.main(start(rows=[*MINE, leaked], **more, **{"seed.on_contaminated": "drop"}))
    assert told.startswith("5 seeds")
    assert not any("Mongolia" in question for question in chat_server.questions)
    guard = decontamination.guard(
        seed_pool.base_exam(start().settings.exam, start().settings.seed, 0, [])[1],
        start().settings.decontaminate,
    )
    assert [row for row in pool() if guard.find_overlap(row["messages"][-1]["content"])] == []


def test_a_seed_that_cannot_be_used_is_dropped_with_its_reason(start: Start) -> None:
    assert bootstrap.main(
        start(rows=[*MINE, {"instruction": "Ring the bell \x07 at noon"}])
    ).startswith("5 seeds and 35 new tasks")
    assert measured().dropped == {"control": 1}


def test_the_further_gates_hold_here_too_whatever_the_order_of_arrival(
    start: Start, chat_server: ChatServer
) -> None:
    """A text is embedded by its length: two of the same length are one. Some lengths are unsafe."""
    jitter = random.Random(1)

    def answer(call: Call) -> Behaviour:
        if "input" in call.body:
            one = [0.0] * 200
            one[len(call.body["input"]) % 200] = 1.0
            return embeds(one)
        if "safe or unsafe" in call.question:
            instruction = call.question.split("\n[End ")[0].partition("\n[Request ")[2]
            return says("safe" if len(instruction) % 4 else "Unsafe.")
        return replace(composed(call), delay=jitter.random() / 50)

    chat_server.answer = answer
    gate = {"model": None, "limit": 0.5, "endpoint": {
        "base_url": chat_server.url, "model": "e", "api_key_env": None, "request": {}}}  # fmt: skip
    generate = {"novelty": 0.7, "near_duplicates": gate, "safety": True, "min_acceptance": 0.0}
    work = start(size=20, entry={"generate": generate})
    assert bootstrap.main(work).startswith("5 seeds and 15 new tasks")
    first = project.BOOTSTRAPPED.read_bytes()
    made = pool()[5:]
    lengths = [len(row["messages"][0]["content"]) for row in pool()]
    assert len(set(lengths)) >= len(made)
    assert all(row["closest"][1] == 0.0 for row in made)
    told = measured()
    for reason in ("near_duplicate", "unsafe"):
        assert told.open.get(reason, 0) + told.classification.get(reason, 0) > 0
    assert told.safety is not None and told.safety.requests >= 15
    project.ledger().unlink()
    bootstrap.main(Work("bootstrap", "0", work.settings))
    assert project.BOOTSTRAPPED.read_bytes() == first


# --- before it runs ---------------------------------------------------------------------------


def problems(settings: Settings) -> str:
    return "\n".join(without_keys(settings, ask_hub=False))


def test_a_bootstrap_that_is_whole_has_no_problem(start: Start) -> None:
    found = start(**{"student.model": "embedded", "exam.file": "embedded"})
    assert problems(found.settings) == ""


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"seed.source": ["inputs/mine.jsonl"]}, "seed.source: not data/0/bootstrapped.jsonl"),
        ({"bootstrap": {}}, "while bootstrap makes none"),
        (
            {"bootstrap": {}, "seed.source": "embedded", "seed.depends_on": "gone"},
            "seed.depends_on: there is no gone",
        ),
        ({"seed.depends_on": "seeds"}, "seed.depends_on: set data/0/bootstrapped.jsonl"),
        ({"seed.answers": "keep"}, "seed.answers: `keep`, but bootstrap makes tasks without"),
        ({"exam.file": None, "seed.holdout": 5}, "seed.holdout: rows of a pool that bootstrap"),
        ({"entry": {"size": 5}}, "bootstrap.0.size: 5, but there are 5 seeds already"),
        ({"entry": {"seeds": ["inputs/none.jsonl"]}}, "bootstrap.0.seeds: inputs/none.jsonl"),
        ({"entry": {"seeds": ["params.yaml"]}}, "params.yaml lies outside inputs"),
    ],
    ids=str,
)
def test_what_would_stop_it_is_told_before(start: Start, more: Any, told: str) -> None:
    assert told in problems(start(**more).settings)


def test_the_plan_counts_its_calls_as_an_estimate(start: Start) -> None:
    settings = start(size=500).settings
    needs = plan.plan(settings, {"bootstrap@0", "teach@0"}, {}, Prices({}))
    need, teach = needs
    assert (need.stage, need.role, need.basis) == ("bootstrap@0", "generator", "estimated")
    assert need.calls == 110  # 495 tasks, five a call, nine of ten kept
    assert need.prompt_tokens > 110 * 3 * 50
    assert teach.calls == 500


def test_the_plan_measures_by_an_earlier_bootstrap(start: Start) -> None:
    work = start()
    bootstrap.main(work)
    (need,) = plan.plan(work.settings, {"bootstrap@0"}, {}, Prices({}))
    assert need.basis == "measured"
    assert need.prompt_tokens == 5 * need.calls  # what the server told


def test_the_table_counts_it_in_the_base(start: Start) -> None:
    bootstrap.main(start())
    (line,) = iterations.lines({})
    assert line.requests
    assert line.dropped


# --- under DVC --------------------------------------------------------------------------------


@pytest.mark.slow
def test_dvc_runs_it_before_seed_and_again_where_its_size_changes(
    tmp_path: Path, chat_server: ChatServer
) -> None:
    """A real `dvc repro`; that an empty dict makes no stage is claimed in test_contract."""
    chat_server.answer = composed
    mine = Project.of_working_tree(tmp_path / "project", "ci")
    entry = {
        "seeds": ["seeds/seeds.jsonl"],
        "per_call": 8,
        "from_seeds": 6,
        "requests_per_round": 8,
    }
    mine.edit({**changes(chat_server.url, 230, entry), "student.model": "student"})
    (mine.root / "student").mkdir()
    for name, text in (("config.json", '{"eos_token_id": 1}'), ("tokenizer.json", "{}")):
        (mine.root / "student" / name).write_text(text)
    (mine.root / "student" / "model.safetensors").write_bytes(b"weights")
    ran = mine.repro("seed")
    assert ran.stages == ["bootstrap@0", "seed"], ran.output
    assert len(mine.rows("0/train_pool.jsonl")) == len(mine.rows("0/bootstrapped.jsonl")) == 230
    calls = len(chat_server.calls)
    assert mine.repro("seed").stages == []
    mine.edit({"bootstrap": {"0": {**mine.settings()["bootstrap"]["0"], "size": 240}}})
    again = mine.repro("bootstrap")
    assert again.stages == ["bootstrap@0"], again.output
    assert len(mine.rows("0/bootstrapped.jsonl")) == 240
    assert calls < len(chat_server.calls) < 2 * calls  # what was asked before is in the ledger


def test_the_shipped_params_make_no_such_stage() -> None:
    for path in (ROOT / "params.yaml", *(ROOT / "profiles").glob("*.yaml")):
        assert project.load_settings(path).bootstrap == {}, path
