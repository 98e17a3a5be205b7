"""The stage `generate`: an endpoint that fails is no dry well."""

from pathlib import Path

import pytest
from fixtures import Workplace
from loopback import Call, ChatServer, Told, refuses, says

from lion import jsonl, project, teacher
from lion.errors import TooManyDroppedError
from lion.records import Answer, Instruction, Verdict
from lion.stage import Work
from stages.generation.generate import generate


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
            "generate.round": 16,
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
    jsonl.write(project.EXAM, [])
    jsonl.write_document(project.FURTHER_EXAMS, {"items": []})
    jsonl.write_document(Path("data/1/stop.json"), {"stop": False, "reason": None})
    return Work("generate", "1", settings)


def fresh(call: Call) -> Told:
    return says(f"Write line {call.number} of a song about {call.number * 7} lions")


def test_an_endpoint_that_goes_down_stops_the_stage(work: Work, chat_server: ChatServer) -> None:
    """Else DVC would cache the short pool as this iteration's, and be done with it."""
    chat_server.answer = lambda call: fresh(call) if call.number <= 5 else refuses(503, "Down.")
    with pytest.raises(TooManyDroppedError, match="http_503"):
        generate(work)
    assert not Path("data/1/train_pool.jsonl").exists()


def test_the_stage_goes_on_where_it_stopped(work: Work, chat_server: ChatServer) -> None:
    chat_server.answer = lambda call: fresh(call) if call.number <= 5 else refuses(503, "Down.")
    with pytest.raises(TooManyDroppedError):
        generate(work)
    chat_server.answer = fresh
    assert generate(Work("generate", "1", work.settings)).startswith("12 new hard, 8 new easy")


def test_a_few_failed_calls_are_dropped_and_made_up_for(
    work: Work, chat_server: ChatServer
) -> None:
    chat_server.answer = lambda call: refuses(503, "Busy.") if call.number == 3 else fresh(call)
    assert generate(work).startswith("12 new hard, 8 new easy")
    assert jsonl.read_document(project.metrics("1", "generate"))["hard"]["http_503"] == 1


def test_a_well_that_is_dry_is_said_to_be(work: Work, chat_server: ChatServer) -> None:
    chat_server.answer = says("Always the very same new instruction")
    assert "the well is dry: 11 hard too few, 8 easy too few" in generate(work)


def test_words_of_other_servers_for_an_end_are_no_flaw(work: Work, chat_server: ChatServer) -> None:
    chat_server.answer = lambda call: says(
        f"Write line {call.number} of a song about {call.number * 7} lions", finish_reason="eos"
    )
    assert generate(work).startswith("12 new hard, 8 new easy")
