"""`lion check` asks each role what its stage asks, and reads the reply as the stage does."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from fake_server import Behaviour, Call, ChatServer, embeds, refuses, says
from fixtures import Workplace
from rich.console import Console

from lion.config import project
from lion.config.settings import ROLES, Budget, Settings
from lion.conversations import TaskTemplate
from lion.llm.caps import Amount
from lion.llm.ledger import Ledger
from lion.llm.prices import Prices
from lion.metrics.files import CallStats, RunRecord, write_metrics
from lion.pipeline import plan
from lion.pipeline.checks.endpoint_rehearsal import probe_endpoints
from lion.pipeline.endpoint_pace import EndpointPaces
from lion.reporting import costs

REPLIES = {
    "teacher": "A river carries water to the sea.",
    "referee": "Both are short.\nScore of Assistant 1: 4\nScore of Assistant 2: 6",
    "generator": "Name three rivers that flow into the Baltic Sea.",
}


def replies(**replaced: str | Behaviour) -> Callable[[Call], Behaviour]:
    """Return a server on which each role is served well, but for those `replaced`."""

    def answer(call: Call) -> Behaviour:
        if "input" in call.body:
            return embeds([1.0, 2.0], model="embedder")
        model = call.body["model"]
        reply = replaced.get(model, REPLIES.get(model, REPLIES["referee"]))
        return reply if isinstance(reply, Behaviour) else says(reply, model=model)

    return answer


def settings_for(workplace: Workplace, url: str, **changes: Any) -> Settings:
    """Return params whose roles are models of their own name behind `url`."""
    roles = {
        f"{role}.{name}": value
        for role in ROLES
        for name, value in (("base_url", url), ("api_key_env", None), ("model", role))
    }
    return workplace.params({**roles, **changes})


def endpoint(url: str, model: str, **more: Any) -> dict[str, Any]:
    return {"base_url": url, "model": model, "api_key_env": None, "send_seed": False,
            "request": {}, **more}  # fmt: skip


def notices(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().err.splitlines()
    return [line.removeprefix("notice: ") for line in lines if line.startswith("notice: ")]


# --- what is sent -------------------------------------------------------------------------------


def test_each_role_is_asked_once_with_its_own_request_past_the_ledger(
    workplace: Workplace, chat_server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_server.answer = replies()
    caps = {f"{role}.request": {"max_tokens": 90 + n} for n, role in enumerate(ROLES)}
    assert probe_endpoints(settings_for(workplace, chat_server.url, **caps)) == []
    sent = {call.body["model"]: call.body["max_tokens"] for call in chat_server.calls}
    assert len(chat_server.calls) == 3
    assert sent == {role: 90 + n for n, role in enumerate(ROLES)}
    assert notices(capsys) == []
    with Ledger(project.ledger()) as ledger:
        assert ledger.count() == 0


def test_the_first_row_of_the_users_pool_is_what_is_asked(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    text = "Where does the river Oder flow into the sea?"
    rows = [{"instruction": text}, {"instruction": "Another task for the pool"}]
    path = workplace.path / "inputs/tasks.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    chat_server.answer = replies()
    changes = {"seed.source": ["inputs/tasks.jsonl"], "exam.file": None}
    assert probe_endpoints(settings_for(workplace, chat_server.url, **changes)) == []
    teacher, referee, generator = chat_server.calls
    assert teacher.question == text
    assert all(text in call.question for call in (referee, generator))
    assert all("Another task" not in call.question for call in chat_server.calls)


def test_of_a_pool_that_is_not_grown_yet_its_first_seed_is_what_is_asked(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    text = "Where does the river Oder flow into the sea?"
    (workplace.path / "seeds/seeds.jsonl").write_text(json.dumps({"instruction": text}))
    grown = {"seeds": ["seeds/seeds.jsonl"], "size": 100, "classification": 0.25, "per_call": 8,
             "from_seeds": 6, "from_made": 2, "requests_per_round": 16, "generate": {}}  # fmt: skip
    source = str(project.BOOTSTRAPPED)
    changes = {"bootstrap": {"0": grown}, "seed.source": [source], "seed.depends_on": source,
               "exam.file": None}  # fmt: skip
    chat_server.answer = replies()
    assert probe_endpoints(settings_for(workplace, chat_server.url, **changes)) == []
    assert chat_server.questions[0] == text


def test_further_referees_and_embeddings_are_asked_and_a_repeated_request_is_not(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    url = chat_server.url
    referee = endpoint(url, "judge", form="text")
    gate = {"model": None, "endpoint": endpoint(url, "embedder"), "limit": 0.9}
    changes = {
        "evaluate.referee": referee,
        "calibrate.second": referee,
        "calibrate.iterations": ["1"],
        "generate.near_duplicates": gate,
    }
    chat_server.answer = replies()
    assert probe_endpoints(settings_for(workplace, url, **changes)) == []
    models = [call.body["model"] for call in chat_server.calls]
    assert sorted(models) == ["embedder", "generator", "judge", "referee", "teacher"]


# --- what would stop a stage --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (refuses(401, "Incorrect API key provided."), "Incorrect API key provided."),
        (refuses(404, "The model does not exist."), "The model does not exist."),
        (refuses(400, "Unknown parameter: seed."), "Unknown parameter: seed."),
        (refuses(429, "Quota.", code="insufficient_quota"), "Top up"),
        (refuses(503, "Overloaded."), "Overloaded."),
        (
            says(None, finish_reason="length"),
            "hidden reasoning?). Raise teacher.request.max_tokens",
        ),
        (says("Half an", finish_reason="length"), '"Half an". Raise teacher.request.max_tokens'),
        (says(""), "empty_reply"),
        (Behaviour(body=b'[{"generated_text": "Yes."}]'), "but a JSON list. Is base_url right?"),
    ],
)
def test_endpoints_that_would_stop_a_stage_are_problems(
    workplace: Workplace, chat_server: ChatServer, reply: Behaviour, message: str
) -> None:
    """In the server's own words where it has some. Not retried: a row is asked once of each."""
    chat_server.answer = reply
    problems = probe_endpoints(settings_for(workplace, chat_server.url))
    assert len(problems) == 3
    assert len(chat_server.calls) == len({call.raw for call in chat_server.calls})
    assert len(chat_server.calls) == (9 if b'"length"' in reply.body else 3)
    assert problems[0].startswith("teacher: ")
    assert message in problems[0]
    assert chat_server.url in problems[0]


def test_a_server_that_is_down_is_a_problem(workplace: Workplace) -> None:
    problems = probe_endpoints(settings_for(workplace, "http://127.0.0.1:9/v1"))
    assert len(problems) == 3
    assert all("Is the server up" in line for line in problems)
    assert not EndpointPaces.path().exists()


@pytest.mark.parametrize(
    ("changes", "cap"),
    [
        ({"teacher.request": {"max_completion_tokens": 7}}, "max_completion_tokens (7)"),
        ({"teacher.request": {}}, "teacher.request.max_tokens, which is not set"),
    ],
)
def test_the_cap_to_raise_is_named(
    workplace: Workplace, chat_server: ChatServer, changes: dict[str, Any], cap: str
) -> None:
    """An answer that was cut off is a problem only where it would be dropped."""
    chat_server.answer = replies(teacher=says("A riv", finish_reason="length", model="teacher"))
    (problem,) = probe_endpoints(settings_for(workplace, chat_server.url, **changes))
    assert cap in problem
    kept = settings_for(workplace, chat_server.url, **{"teach.truncated": "keep"})
    assert probe_endpoints(kept) == []


@pytest.mark.parametrize("cut_off", [1, 2])
def test_an_answer_that_is_cut_off_among_whole_ones_is_a_notice(
    workplace: Workplace, chat_server: ChatServer, capsys: pytest.CaptureFixture[str], cut_off: int
) -> None:
    half = says("A riv", finish_reason="length", model="teacher")
    chat_server.answer = lambda call: (
        half if call.number <= cut_off else replies()(call)  # the teacher is asked first
    )
    changes = {"teacher.request": {"max_tokens": 77}}
    assert probe_endpoints(settings_for(workplace, chat_server.url, **changes)) == []
    assert len(chat_server.calls) == 3 + cut_off
    (notice,) = notices(capsys)
    assert f"cut {cut_off} of {cut_off + 1} replies off" in notice
    assert notice.endswith("Raise teacher.request.max_tokens (77)")


@pytest.mark.parametrize(("form", "other"), [("text", "schema"), ("schema", "text")])
def test_a_referee_without_scores_is_a_problem_with_the_start_of_its_reply(
    workplace: Workplace, chat_server: ChatServer, form: str, other: str
) -> None:
    chat_server.answer = replies(referee="\x1b[2JThe first\nis better. " + "x" * 100)
    settings = settings_for(workplace, chat_server.url, **{"referee.form": form})
    (problem,) = probe_endpoints(settings)
    assert problem.startswith("referee: referee at ")
    assert '(no_scores): "\\x1b[2JThe first is better. xxx' in problem
    assert "\x1b" not in problem and "x" * 70 not in problem
    assert problem.endswith(f"Set referee.form: {other}, or name another model.")
    sent = [call.body.get("response_format") for call in chat_server.calls]
    assert sum(schema is not None for schema in sent) == (form == "schema")


def test_a_referee_that_keeps_to_its_schema_has_no_problem(
    workplace: Workplace, chat_server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that writes text instead is read all the same, with a notice."""
    settings = settings_for(workplace, chat_server.url, **{"referee.form": "schema"})
    verdict = '{"evidence": "", "score_of_assistant_1": 1, "score_of_assistant_2": 1}'
    chat_server.answer = replies(referee=verdict)
    assert probe_endpoints(settings) == []
    assert notices(capsys) == []
    chat_server.answer = replies()
    assert probe_endpoints(settings) == []
    (notice,) = notices(capsys)
    assert notice.endswith("Set referee.form: text")


def test_a_reply_of_the_generator_in_the_wrong_form_is_a_problem(
    workplace: Workplace, chat_server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad instruction in the right form is a matter of this reply: a notice."""
    conversation = [
        {"role": "system", "content": "Answer in JSON."},
        {"role": "user", "content": "$subject\n$body"},
    ]
    path = workplace.path / "inputs/tasks.jsonl"
    path.write_text(json.dumps({"subject": "Parcel", "body": "Where is my parcel?"}))
    changes = {
        "seed.source": ["inputs/tasks.jsonl"],
        "exam.file": None,
        "task": {"fields": ["subject", "body"], "messages": conversation, "good": None},
    }
    settings = settings_for(workplace, chat_server.url, **changes)
    assert TaskTemplate.declared(settings.task) is not None
    chat_server.answer = replies(generator="Here you are, with pleasure")
    (problem,) = probe_endpoints(settings)
    assert problem.startswith("generator: generator at ")
    assert 'no new instruction: "Here you are, with pleasure"' in problem
    capsys.readouterr()
    chat_server.answer = replies(generator="I cannot help with that.")
    assert probe_endpoints(settings_for(workplace, chat_server.url)) == []
    (notice,) = notices(capsys)
    assert "a refusal" in notice


# --- what is odd --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (says("Yes, it does.", usage=None, model="teacher"), "it counts no tokens"),
        (says("<think>Hm</think>Yes.", model="teacher"), "`thinking: strip`, they are taken out"),
        (says("Yes, it does.", finish_reason="satisfied", model="teacher"), "'satisfied'"),
        (says("Yes, it does.", model="told-1"), "calls itself 'told-1'"),
        (says(None, finish_reason="content_filter"), "its filter refused the question"),
    ],
)
def test_what_is_odd_about_a_reply_is_a_notice_and_no_problem(
    workplace: Workplace,
    chat_server: ChatServer,
    capsys: pytest.CaptureFixture[str],
    reply: Behaviour,
    message: str,
) -> None:
    chat_server.answer = replies(teacher=reply)
    assert probe_endpoints(settings_for(workplace, chat_server.url)) == []
    lines = notices(capsys)
    assert any(message in line for line in lines)
    assert all(line.startswith(f"teacher: teacher at {chat_server.url}: ") for line in lines)


@pytest.mark.parametrize(("thinking", "problems"), [("keep", 0), ("refuse", 1)])
def test_thoughts_are_dealt_with_as_the_parameter_says(
    workplace: Workplace,
    chat_server: ChatServer,
    capsys: pytest.CaptureFixture[str],
    thinking: str,
    problems: int,
) -> None:
    chat_server.answer = replies(teacher="<think>Hm</think>Yes.")
    changes = {"teacher.thinking": thinking}
    lines = probe_endpoints(settings_for(workplace, chat_server.url, **changes))
    assert len(lines) == problems
    assert all("Set teacher.thinking: strip" in line for line in lines)
    (notice,) = notices(capsys)
    assert f"`thinking: {thinking}`" in notice


# --- how fast it is -----------------------------------------------------------------------------


def needs(settings: Settings) -> dict[str, plan.Need]:
    """Return a need of each role, of stages that nothing has run yet."""
    stages = {"teach@0", "review@1", "generate@1"}
    return {need.role: need for need in plan.plan(settings, stages, {}, Prices({}))}


def plan_text(planned: dict[str, plan.Need]) -> str:
    console = Console(width=200)
    table = costs.plan_table(
        list(planned.values()), Amount(), Amount(), Budget(usd=None, tokens=None, calls=None)
    )
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_the_plan_uses_the_latency_that_check_measured_until_there_are_runs(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    slow = says(REPLIES["teacher"], usage=(5, 30), model="teacher", delay=0.3)
    chat_server.answer = replies(teacher=slow, generator=refuses(503))
    settings = settings_for(workplace, chat_server.url)
    assert {need.pace for need in needs(settings).values()} == {"assumed"}
    assert len(probe_endpoints(settings)) == 1
    calls = {call.role: call for call in EndpointPaces.read().calls}
    assert calls.keys() == {"teacher", "referee"}
    latency, rate = calls["teacher"].latency_seconds, calls["teacher"].completion_tokens_per_second
    assert 0.3 <= latency < 3
    assert rate == pytest.approx(30 / latency)
    planned = needs(settings)
    assert {role: need.pace for role, need in planned.items()} == {
        "teacher": "check", "referee": "check", "generator": "assumed",
    }  # fmt: skip
    sentence = "A call's time: as `lion check` measured it for teacher, referee; assumed to be 3 s"
    assert sentence in " ".join(plan_text(planned).split())
    teacher = planned["teacher"]
    assert teacher.seconds == pytest.approx(teacher.calls * latency / settings.api.concurrency)
    happened = dict.fromkeys(CallStats.__struct_fields__, 0) | {"p50_seconds": 9.0}
    record = RunRecord(
        finished=True, exit_code=0, seconds=1.0, asked={"teacher": CallStats(**happened)}
    )
    write_metrics(project.run_record("teach@0"), record)
    planned = needs(settings)
    assert {role: need.pace for role, need in planned.items()} == {
        "teacher": "runs", "referee": "check", "generator": "runs",
    }  # fmt: skip


def test_another_model_is_not_planned_by_what_check_measured(
    workplace: Workplace, chat_server: ChatServer
) -> None:
    chat_server.answer = replies()
    assert probe_endpoints(settings_for(workplace, chat_server.url)) == []
    other = settings_for(workplace, chat_server.url, **{"teacher.model": "larger"})
    assert needs(other)["teacher"].pace == "assumed"


def test_a_damaged_file_of_measurements_is_named_with_what_to_do(workplace: Workplace) -> None:
    settings = settings_for(workplace, "http://127.0.0.1:9/v1")
    EndpointPaces.path().parent.mkdir()
    EndpointPaces.path().write_text('{"format": 1, "calls": [1]}')
    with pytest.raises(Exception, match=r"measured\.json.*Delete it"):
        needs(settings)


def test_the_embedded_teacher_plays_every_role_and_is_not_measured(workplace: Workplace) -> None:
    assert probe_endpoints(workplace.params({})) == []
    assert not EndpointPaces.path().exists()
