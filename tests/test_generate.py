"""The stage `generate`: an endpoint that fails is no dry well."""

import re
from pathlib import Path

import pytest
from fake_server import Behaviour, Call, ChatServer, embeds, refuses, says
from fixtures import Workplace

from lion.config import project
from lion.config.settings import EmbeddingEndpoint, NearDuplicates
from lion.errors import TooManyDroppedError
from lion.metrics import files
from lion.metrics.pools import GenerateMetrics
from lion.pipeline.stage import Work
from lion.prompting import teacher
from lion.records import jsonl
from lion.records.rows import Answer, Instruction, Verdict
from stages import generate


def measured() -> GenerateMetrics:
    return files.read_metrics(project.metrics("1", "generate"), GenerateMetrics)


@pytest.fixture
def work(workplace: Workplace, chat_server: ChatServer) -> Work:
    """Return the stage of iteration 1, with ten judged rows, before a generator on loopback."""
    settings = workplace.params(
        {
            **{
                f"generator.{key}": value
                for key, value in {"base_url": chat_server.url, "api_key_env": None}.items()
            },
            "generate.hard": 12,
            "generate.easy": 8,
            "generate.requests_per_round": 16,
            "generate.max_dropped": 0.1,
            "generate.min_acceptance": 0.5,
            "api.tries": 1,
        }
    )
    rows = [
        Instruction.new(
            [{"role": "user", "content": f"Task number {number}, please"}],
            origin="seed",
            iteration="0",
        )
        for number in range(10)
    ]
    cache = [teacher.taught(row, Answer(row.id, "x", "stop", "m")) for row in rows]
    verdicts = [
        Verdict(row.id, 8.0, 4.0 if number % 2 else 8.0, 4.0 * (number % 2), kind, None)
        for number, row in enumerate(rows)
        for kind in (("easy", "hard")[number % 2],)
    ]
    jsonl.write(Path("data/0/cache_pool.jsonl"), cache)
    jsonl.write(Path("data/1/verdicts.jsonl"), verdicts)
    unjudged = [Verdict(row.id, None, None, None, "undecided", "not judged yet") for row in rows]
    jsonl.write(Path("data/0/verdicts.jsonl"), unjudged)
    jsonl.write(project.EXAM, [])
    jsonl.write_document(project.FURTHER_EXAMS, {"items": []})
    jsonl.write_document(Path("data/1/stop.json"), {"stop": False, "reason": None})
    return Work("generate", "1", settings)


def fresh(call: Call) -> Behaviour:
    return says(f"Write line {call.number} of a song about {call.number * 7} lions")


def test_an_endpoint_that_goes_down_stops_the_stage(work: Work, chat_server: ChatServer) -> None:
    """Else DVC would cache the short pool as this iteration's, and be done with it."""
    chat_server.answer = lambda call: fresh(call) if call.number <= 5 else refuses(503, "Down.")
    with pytest.raises(TooManyDroppedError, match="http_503"):
        generate.main(work)
    assert not Path("data/1/train_pool.jsonl").exists()


def test_the_stage_goes_on_where_it_stopped(work: Work, chat_server: ChatServer) -> None:
    chat_server.answer = lambda call: fresh(call) if call.number <= 5 else refuses(503, "Down.")
    with pytest.raises(TooManyDroppedError):
        generate.main(work)
    chat_server.answer = fresh
    assert generate.main(Work("generate", "1", work.settings)).startswith("12 new hard, 8 new easy")


def test_a_few_failed_calls_are_dropped_and_made_up_for(
    work: Work, chat_server: ChatServer
) -> None:
    chat_server.answer = lambda call: refuses(503, "Busy.") if call.number == 3 else fresh(call)
    assert generate.main(work).startswith("12 new hard, 8 new easy")
    assert measured().hard["http_503"] == 1


def test_a_well_that_is_dry_is_said_to_be(work: Work, chat_server: ChatServer) -> None:
    chat_server.answer = says("Always the very same new instruction")
    assert "acceptance too low: 11 hard too few, 8 easy too few" in generate.main(work)


def test_words_of_other_servers_for_an_end_are_no_flaw(work: Work, chat_server: ChatServer) -> None:
    chat_server.answer = lambda call: says(
        f"Write line {call.number} of a song about {call.number * 7} lions", finish_reason="eos"
    )
    assert generate.main(work).startswith("12 new hard, 8 new easy")


def gated(work: Work, chat_server: ChatServer, unsafe: str = "^$") -> Work:
    """Return the stage with both further gates, all of their servers on loopback.

    A text is embedded by its digits, so that texts with the same ones are the same; what matches
    `unsafe` is called so.
    """

    def answer(call: Call) -> Behaviour:
        if "input" in call.body:
            digits = [int(digit) + 1 for digit in re.findall(r"\d", call.body["input"])]
            return embeds([sum(digits), *digits, *[0] * 9][:9])
        if "safe or unsafe" in call.question:
            return says("unsafe" if re.search(unsafe, call.question) else "safe")
        return fresh(call)

    chat_server.answer = answer
    endpoint = {"base_url": chat_server.url, "model": "e-1", "api_key_env": None, "request": {}}
    settings = work.settings
    generate_ = settings.generate.model_copy(
        update={
            "near_duplicates": NearDuplicates(
                model=None, endpoint=EmbeddingEndpoint(**endpoint), limit=0.9999
            ),
            "safety": True,
        }
    )
    referee = settings.referee.model_copy(update={"base_url": chat_server.url, "api_key_env": None})
    changed = settings.model_copy(update={"generate": generate_, "referee": referee})
    return Work("generate", "1", changed)


def test_the_further_gates_are_asked_once_and_told_in_the_funnel(
    work: Work, chat_server: ChatServer
) -> None:
    here = gated(work, chat_server, unsafe=r"line \d*3 ")
    assert generate.main(here).startswith("12 new hard, 8 new easy")
    told = measured()
    rows = jsonl.read(Path("data/1/train_pool.jsonl"), Instruction)
    unsafe = told.hard.get("unsafe", 0) + told.easy.get("unsafe", 0)
    assert unsafe > 0
    assert not [row for row in rows if re.search(r"line \d*3 ", row.messages[0]["content"])]
    assert all(row.closest is not None for row in rows)
    judged = [call for call in chat_server.calls if "safe or unsafe" in str(call.body)]
    assert told.safety is not None and told.embedder is not None
    assert told.safety.requests == len(judged) == 20 + unsafe
    embedded = [call.body["input"] for call in chat_server.calls if "input" in call.body]
    assert len(embedded) == len(set(embedded)) == told.embedder.requests
    assert told.embedder.pool == 10 + 20 + unsafe
    for funnel in told.funnels.values():
        assert funnel.asked == funnel.kept + sum(funnel.dropped.values())
    assert chat_server.distinct == len(chat_server.calls)
    asked = len(chat_server.calls)
    assert generate.main(Work("generate", "1", here.settings)).startswith("12 new hard, 8 new easy")
    assert len(chat_server.calls) == asked, "all of it is in the ledger"


def test_near_duplicates_name_their_neighbour(work: Work, chat_server: ChatServer) -> None:
    here = gated(work, chat_server)
    answer = chat_server.answer
    assert callable(answer)
    chat_server.answer = lambda call: (
        says(f"Compose verse no. {call.number % 7} for {'a choir ' * (call.number % 5)}, friend")
        if not {"input"} & set(call.body) and "safe or unsafe" not in call.question
        else answer(call)
    )
    generate.main(here)
    dropped = jsonl.read_objects(Path("data/1/dropped.generate.jsonl"))[:-1]
    near = [row for row in dropped if row["reason"] == "near_duplicate"]
    known = {
        row.id
        for path in ("data/0/cache_pool.jsonl", "data/1/train_pool.jsonl")
        for row in jsonl.read(Path(path), Instruction)
    }
    assert near
    assert all(row["detail"].split(" at ")[0] in known for row in near)


def test_a_referee_that_is_down_stops_the_stage(work: Work, chat_server: ChatServer) -> None:
    here = gated(work, chat_server)
    answer = chat_server.answer
    assert callable(answer)
    chat_server.answer = lambda call: (
        refuses(503, "Down.") if "safe or unsafe" in str(call.body) else answer(call)
    )
    with pytest.raises(TooManyDroppedError, match="http_503"):
        generate.main(here)
    assert not Path("data/1/train_pool.jsonl").exists()


def test_a_stopped_loop_asks_no_gate(work: Work, chat_server: ChatServer) -> None:
    jsonl.write_document(Path("data/1/stop.json"), {"stop": True, "reason": "nothing is hard"})
    generate.main(gated(work, chat_server))
    assert chat_server.calls == []


def test_a_well_that_gives_nothing_is_dry_whatever_params_accept(
    work: Work, chat_server: ChatServer
) -> None:
    filters = work.settings.generate.model_copy(update={"min_acceptance": 0.0})
    chat_server.answer = says("Always the very same new instruction")
    settings = work.settings.model_copy(update={"generate": filters})
    assert "acceptance too low" in generate.main(Work("generate", "1", settings))


@pytest.mark.parametrize(
    ("feedback", "drawn", "prompts"),
    [
        ("adversarial", {"hard": {1}, "easy": {0}}, {"hard", "easy"}),
        ("uniform", {"hard": {0, 1}, "easy": {0, 1}}, {"hard"}),
        ("uniform-mixed", {"hard": {0, 1}, "easy": {0, 1}}, {"hard", "easy"}),
        ("balanced", {"hard": {0, 1}, "easy": {0, 1}}, {"hard"}),
    ],
)
def test_without_feedback_parents_come_from_the_whole_cache_pool(
    work: Work,
    chat_server: ChatServer,
    feedback: str,
    drawn: dict[str, set[int]],
    prompts: set[str],
) -> None:
    """Odd rows are hard. One-way imitation knows one prompt; the row's slot still is its origin."""
    asked: list[str] = []

    def answer(call: Call) -> Behaviour:
        asked.append(call.body["messages"][-1]["content"])
        return fresh(call)

    chat_server.answer = answer
    generate_ = work.settings.generate.model_copy(update={"feedback": feedback})
    settings = work.settings.model_copy(update={"generate": generate_})
    generate.main(Work("generate", "1", settings))
    rows = jsonl.read(Path("data/0/cache_pool.jsonl"), Instruction)
    place = {row.id: number for number, row in enumerate(rows)}
    new = jsonl.read(Path("data/1/train_pool.jsonl"), Instruction)
    found = {
        kind: {place[row.parent or ""] % 2 for row in new if row.origin == kind} for kind in drawn
    }
    assert found == drawn
    assert {"easy" if "rarer" in text else "hard" for text in asked} == prompts
