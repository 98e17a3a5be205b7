"""What is still to be asked is told before it is paid."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from fake_server import says
from fixtures import ROOT, Workplace

from lion.cli import main
from lion.config import project
from lion.config.settings import Settings
from lion.config.validation import read_settings
from lion.generation import seed_pool
from lion.llm.calls import Call, Entry
from lion.llm.ledger import Ledger
from lion.llm.prices import Price, Prices
from lion.metrics import files
from lion.metrics.judging import ReviewMetrics
from lion.metrics.pools import TeachMetrics
from lion.metrics.units import RoleUsage
from lion.pipeline import plan
from lion.pipeline.checks.student import DiskNeed
from lion.pipeline.plan import Need
from lion.pipeline.rehearsal import rehearse
from lion.prompting import protocol, teacher
from lion.prompting import templates as prompts
from lion.records import jsonl
from lion.reporting import costs


def asked(requests: int, prompt: int = 0, completion: int = 0) -> RoleUsage:
    return RoleUsage(
        requests=requests,
        failed=0,
        prompt_tokens=prompt,
        completion_tokens=completion,
        replies_without_usage=0,
    )


SMALL = {"seed.size": 100, "exam.size": 40, "respond.limit": 50, "evaluate.quality": 10}
ALL = {f"{stage}@{key}" for stage in ("teach", "review", "generate", "evaluate") for key in "0123"}


def planned(
    settings: Settings, remaining: set[str] = ALL, prices: Prices | None = None
) -> dict[tuple[str, str], Need]:
    with Ledger(project.ledger()) as ledger:
        certain = rehearse(settings, remaining, ledger)
    found = plan.plan(settings, remaining, certain, prices or Prices({}))
    return {(need.stage, need.role): need for need in found}


def test_calls_follow_from_params(workplace: Workplace) -> None:
    """Both orders of each judged row; the last iteration ends with its evaluation."""
    found = planned(workplace.params({**SMALL, "generate.hard": 30, "generate.easy": 15}))
    assert found["teach@0", "teacher"].calls == 100
    assert found["evaluate@0", "teacher"].calls == 40
    assert found["evaluate@3", "referee"].calls == 2 * 10
    assert found["review@2", "referee"].calls == 2 * 50
    assert found["generate@1", "generator"].calls == 50  # at nine of ten kept
    assert found["teach@3", "teacher"].calls == 45
    assert ("evaluate@1", "teacher") not in found  # in the ledger since iteration 0


def test_the_calls_of_the_paper(workplace: Workplace) -> None:
    """The count that docs/concepts/method.md and profiles/paper.yaml tell: 52,000 rows, no exam."""
    told = "438,001"
    assert told in (ROOT / "docs" / "concepts" / "method.md").read_text(encoding="utf-8")
    text = (ROOT / "profiles" / "paper.yaml").read_text(encoding="utf-8")
    assert told in text
    settings = read_settings(yaml.safe_load(text))
    rows = [{"instruction": f"Name {number}", "output": "x"} for number in range(52_000)]
    (workplace.path / "inputs" / "alpaca_data.json").write_text(json.dumps(rows), encoding="utf-8")
    needs = plan.plan(settings, ALL, {}, Prices({}))
    calls = sum(need.calls or 0 for need in needs if need.role)
    assert f"{calls:,}" == told


@pytest.mark.parametrize(("answers", "taught"), [("ask", 100 + 40), ("keep", 40)])
def test_the_trial_is_asked_where_answers_are_kept_too(
    workplace: Workplace, answers: str, taught: int
) -> None:
    trial = {**SMALL, "seed.answers": answers, "exam.teacher_at_least": 0.5}
    found = planned(workplace.params(trial), {"teach@0", "evaluate@0"})
    calls = {stage: need.calls for (stage, role), need in found.items() if role == "teacher"}
    assert calls == {"teach@0": taught, "evaluate@0": 0}


def test_the_points_of_the_curve_are_planned_without_a_call(workplace: Workplace) -> None:
    settings = workplace.params({"curve": [5, 10]})
    needs = plan.plan(settings, {"curve@5", "curve@10"}, {}, Prices({}))
    assert [(need.stage, need.calls, need.seconds) for need in needs] == [
        ("curve@5", 0, 0.0),
        ("curve@10", 0, 0.0),
    ]


def test_only_what_remains_is_told(workplace: Workplace) -> None:
    found = planned(workplace.params(SMALL), {"teach@3", "evaluate@3"})
    assert set(found) == {("teach@3", "teacher"), ("evaluate@3", "referee")}


def test_a_scorer_in_the_referees_place_asks_nobody(workplace: Workplace) -> None:
    found = planned(workplace.params({**SMALL, "review.judge": "scorer"}))
    assert not [stage for stage, _ in found if stage.startswith("review")]


def test_frugal_judging_is_planned_at_most_then_as_it_was(workplace: Workplace) -> None:
    """Nobody knows which gaps lie near tau before an iteration has shown it."""
    rules = {"review.limit": 40, "review.second_order_margin": 1.0, "review.same_answer": "skip"}
    settings = workplace.params({**SMALL, **rules})
    need = planned(settings)["review@2", "referee"]
    assert (need.calls, need.precision) == (2 * 40, "at_most")
    found = ReviewMetrics(responses=50, judged=40, reviews=30, dropped={}, referee=asked(30))
    files.write_metrics(project.metrics("1", "review"), found)
    need = planned(settings)["review@2", "referee"]
    assert (need.calls, need.precision) == (30, "about")
    assert planned(workplace.params(SMALL))["review@2", "referee"].precision == "exactly"


def test_the_second_orders_are_a_batch_of_their_own(workplace: Workplace) -> None:
    """They follow from the first ones' replies: a day for each, at most."""
    batch = {**SMALL, "api.mode.referee": "batch", "api.batch_least": 1}
    full = planned(workplace.params(batch))["review@2", "referee"]
    frugal = planned(workplace.params({**batch, "review.second_order_margin": 1.0}))[
        "review@2", "referee"
    ]
    assert (full.mode, frugal.seconds) == ("batch", 2 * full.seconds)


def test_what_the_ledger_has_is_free(workplace: Workplace) -> None:
    settings = workplace.params(SMALL)
    rows, _ = seed_pool.base_pool(settings.seed, settings.random_seed)
    rows, exam = seed_pool.base_exam(settings.exam, settings.seed, settings.random_seed, rows)
    jsonl.write(project.data("0", "train_pool.jsonl"), rows)
    jsonl.write(project.EXAM, exam)
    templates = prompts.load(project.PROMPTS / "teacher", "teacher")
    with Ledger(project.ledger()) as ledger:
        for row in rows:
            if row is rows[30]:
                need = planned(settings)["teach@0", "teacher"]
                assert (need.calls, need.in_ledger, need.basis) == (70, 30, "estimated")
            asked = teacher.answer_request(row, templates)
            body = protocol.canonical(protocol.body(asked, settings.teacher, settings.random_seed))
            key = protocol.key(settings.teacher, body, asked.sample)
            ledger.write([Entry(key, body, asked.sample, says("x").body, Call("embedded"))])
    need = planned(settings)["teach@0", "teacher"]
    assert (need.calls, need.in_ledger, need.basis) == (0, 100, "ledger"), "none is measured"


def test_the_gates_of_generation_are_planned(workplace: Workplace) -> None:
    """The pool is embedded once; then what is made, and what is kept goes to the referee."""
    endpoint = {"base_url": "http://localhost:9/v1", "model": "e", "api_key_env": None,
                "request": {}}  # fmt: skip
    gate = {"model": None, "endpoint": endpoint, "limit": 0.9}
    sizes = {"generate.hard": 30, "generate.easy": 15}
    gates = {"generate.near_duplicates": gate, "generate.safety": True}
    found = planned(workplace.params({**SMALL, **sizes, **gates}))
    assert found["generate@1", "embedder"].calls == 100 + 50
    assert found["generate@2", "embedder"].calls == 50
    assert found["generate@2", "embedder"].completion_tokens == 0
    assert found["generate@2", "embedder"].nanodollars is None
    assert found["generate@2", "safety"].calls == 45
    assert found["generate@2", "safety"].nanodollars == 0  # the embedded referee
    local = {**gate, "model": "folder", "endpoint": None}
    found = planned(workplace.params({**SMALL, "generate.near_duplicates": local}))
    assert not {role for _, role in found} & {"embedder", "safety"}


def test_tokens_are_measured_where_the_role_was_asked_before(workplace: Workplace) -> None:
    settings = workplace.params(SMALL)
    assert planned(settings)["teach@3", "teacher"].basis == "estimated"
    found = TeachMetrics(taught=10, cache_pool=10, dropped={}, teacher=asked(10, 1000, 500))
    files.write_metrics(project.metrics("0", "teach"), found)
    need = planned(settings)["teach@3", "teacher"]
    assert need.basis == "measured"
    assert (need.prompt_tokens, need.completion_tokens) == (100 * need.calls, 50 * need.calls)


def test_an_unknown_price_stays_unknown(workplace: Workplace) -> None:
    settings = workplace.params(
        {**SMALL, "teacher.base_url": "http://localhost:9/v1", "teacher.model": "mine"}
    )
    found = planned(settings)
    assert found["teach@0", "teacher"].nanodollars is None
    assert found["review@1", "referee"].nanodollars == 0  # embedded
    priced = planned(settings, prices=Prices({"mine": Price(input=1.0, output=2.0)}))
    need = priced["teach@0", "teacher"]
    assert need.nanodollars == 1000 * need.prompt_tokens + 2000 * need.completion_tokens


@pytest.mark.parametrize(
    ("limits", "minutes"),
    [({"api.requests_per_minute": 10.0}, 10.0), ({"api.tokens_per_minute": 7500.0}, 2.0)],
)
def test_time_is_reckoned_at_the_limits(
    workplace: Workplace, limits: dict[str, float], minutes: float
) -> None:
    settings = workplace.params({**SMALL, **limits, "api.concurrency": 1000})
    found = TeachMetrics(taught=10, cache_pool=10, dropped={}, teacher=asked(10, 1000, 500))
    files.write_metrics(project.metrics("0", "teach"), found)
    need = planned(settings)["teach@0", "teacher"]
    assert need.seconds == pytest.approx(60 * minutes)


def test_the_commands_of_money_say_where_there_is_nothing_yet(workplace: Workplace) -> None:
    assert workplace.path == Path.cwd()
    for command in (["ledger"], ["ledger", "verify"], ["costs"]):
        found = CliRunner().invoke(main, command)
        assert found.exit_code == 1
        assert "no such ledger" in found.stderr


def test_the_ledger_is_shown_exported_and_taken_in(workplace: Workplace) -> None:
    assert workplace.path == Path.cwd()
    request = protocol.canonical({"model": "m", "messages": []})
    key = protocol.key_of("http://h/v1", request, 0)
    reply = b'{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}'
    call = Call("http://h/v1", "m", "teach@0", 5, 3, 10**7, 0.1)
    with Ledger(project.ledger()) as ledger:
        ledger.write([Entry(key, request, 0, reply, call)])
    shown = CliRunner().invoke(main, ["ledger"]).stdout
    assert "1 replies" in shown
    assert "$0.0100" in shown
    assert "teach@0" in CliRunner().invoke(main, ["costs"]).stdout
    assert CliRunner().invoke(main, ["ledger", "verify"]).exit_code == 0
    assert CliRunner().invoke(main, ["ledger", "export", "r.jsonl"]).exit_code == 0
    project.ledger().rename("theirs.sqlite")
    for name in ("r.jsonl", "theirs.sqlite"):
        found = CliRunner().invoke(main, ["ledger", "import", name])
        assert found.exit_code == 0, found.output
    assert "0 new replies, 1 known already" in found.stderr
    assert CliRunner().invoke(main, ["ledger", "prune"]).exit_code == 0


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("embedded", "Disk: the embedded students need little room."),
        ("nobody/there", "Disk: not known, since the size of nobody/there is not known"),
    ],
)
def test_an_unknown_size_is_told_from_a_small_one(model: str, words: str) -> None:
    assert costs.disk_sentence(DiskNeed(0, 0, 0), model).startswith(words)
