"""The 22 kinds of loss by a real `dvc repro`, where money or files are involved.

The project has a pool of its own, made once by `dvc repro seed`; each test takes a copy, points its
teacher to the loopback server and runs `dvc repro --single-item base-teach`. Each takes seconds,
since DVC starts; three quick ones stay, for rows, stops and caps.

| kind | over sockets, or on files | by `dvc repro` |
| --- | --- | --- |
| 1 half-emoji, a dying writer | test_stops_and_moods, test_wire | rows of each mood |
| 2 refusals with 64 in flight | test_stops_and_moods, test_orderly_stop | stops with 64 in flight |
| 3 counts | test_stops_and_moods, test_purse | caps |
| 4 finish reasons | test_wire, test_stops_and_moods | rows of each mood |
| 5 accounts | test_providers | stops; no credit at the 98th call |
| 6 row or key | test_providers, test_stops_and_moods | flagged; no credit at the 98th call |
| 7 content lost in reading | test_foreign_files | files |
| 8 exams | test_small_exams, test_foreign_files | files |
| 9 ragged tables | test_foreign_files, test_sources | files |
| 10 numbers | test_numbers (no socket, no file) | - |
| 11, 12, 14 templates, fits | test_chat_templates, test_student_rehearsal | the latter |
| 13 shapes | test_wire, test_providers | rows of each mood; another protocol |
| 15 found after paying | test_student_rehearsal | files |
| 16 errors outside the edge | test_network, test_student_rehearsal | a broken variable |
| 17 monorepos | test_repository | test_repository |
| 18 words | test_server_words | rows of each mood |
| 19 an SDK's words | test_settings | an SDK's words |
| 20 check knows less | test_repository | test_repository |
| 21 parsers and filters | test_scores, test_generator, test_quality (no socket) | - |
| 22 slow servers | test_servers, test_purse | slower than the timeout |
"""

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from asking import held_until
from fake_server import Behaviour, Call, ChatServer, refuses, says
from pipeline import Project, Run
from running import once
from test_stops_and_moods import MOODS

ROWS = 100
IN_FLIGHT = 64
ENDPOINT: dict[str, Any] = {
    "base_url": "http://127.0.0.1:9/v1",
    "model": "m",
    "api_key_env": None,
    "request": {"max_tokens": 60},
}
INSTRUCTION = "Explain item number {} of the long list in words."
SHELTER = 50  # the row that moderation refuses


def _rows() -> list[dict[str, str]]:
    rows = [{"instruction": INSTRUCTION.format(number)} for number in range(ROWS)]
    rows[SHELTER] = {"instruction": "Where is the animal shelter of this town, please?"}
    return rows


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def _seeded(root: Path) -> Project:
    project = Project.of_working_tree(root, "ci")
    inputs = project.root / "inputs"
    _write_rows(inputs / "rows.jsonl", _rows())
    exam = {"instruction": "A question of the exam about something else entirely?", "expected": "x"}
    _write_rows(inputs / "exam.jsonl", [exam])
    project.edit(
        {
            **{
                f"{role}.{name}": value
                for role in ("teacher", "referee", "generator")
                for name, value in ENDPOINT.items()
            },
            "seed.source": ["inputs/rows.jsonl"],
            "exam.file": "inputs/exam.jsonl",
            "api.timeout": 8.0,
            "api.max_wait": 0.05,
            "api.tries": 2,
        }
    )
    project.commit()
    run = project.repro("seed")
    assert run.code == 0, run.output
    return project


@dataclass(frozen=True)
class Teaching:
    """A project whose pool waits for the teacher behind `server`."""

    project: Project
    server: ChatServer

    def edit(self, **changes: Any) -> None:
        """Set parameters: `teach__max_dropped` is teach.max_dropped."""
        self.project.edit({name.replace("__", "."): value for name, value in changes.items()})

    def run(self) -> Run:
        """Run the stage; calls made before do not count."""
        self.server.calls.clear()
        return self.project.repro("--single-item", "base-teach")

    @property
    def dropped(self) -> dict[str, str]:
        """The reason of each dropped row, by its instruction."""
        texts = {row["id"]: row["messages"][-1]["content"] for row in self._pool}
        rows = self.project.rows("0/dropped.teach.jsonl")
        return {texts[row["id"]]: row["reason"] for row in rows if "id" in row}

    @property
    def _pool(self) -> list[dict[str, Any]]:
        return self.project.rows("0/train_pool.jsonl")

    @property
    def taught(self) -> int:
        """The rows with an answer."""
        return len(self.project.rows("0/cache_pool.jsonl"))

    def spent(self, column: str = "tokens") -> int:
        """Return what the ledger counts as spent."""
        with closing(sqlite3.connect(self.project.root / ".lion" / "ledger.sqlite")) as connection:
            row = connection.execute(f"SELECT {column} FROM spent").fetchone()
            return int(row[0])


@pytest.fixture(scope="module")
def seeded(common: Path) -> Project:
    folder = common / "seeded-for-moods"
    return once(folder, lambda: _seeded(folder / "project"))


@pytest.fixture
def teaching(seeded: Project, chat_server: ChatServer, tmp_path: Path) -> Teaching:
    project = seeded.copy(tmp_path / "project")
    project.edit({"teacher.base_url": chat_server.url, "teach.max_dropped": 0.5})
    return Teaching(project, chat_server)


def _after_the_40th(refusal: Behaviour) -> Callable[[Call], Behaviour]:
    """Refuse the 40th of 64 calls in flight at once, while the others are at work."""
    slow = says("A plain answer.", delay=0.3)
    return held_until(IN_FLIGHT, lambda call: refusal if call.number == 40 else slow)


# --- moods of rows: the stage goes on, and says what became of each row ---------------------------

ROW_MOODS: dict[str, str | None] = {
    "half-emoji": "http_400",
    "no-usage": None,
    "zero-usage": None,
    "negative-usage": None,
    "absurd-usage": None,
    "finish:model_length": "truncated",
    "finish:network_error": "broken_off",
    "finish:safety": "content_filter",
    "choice-error": "broken_off",
    "flagged": "http_403",
    "parts": None,
    "error-text": "http_400",
    "overloaded": "http_503",
}
"""Why the row of each mood is dropped; None: it is taught."""
_MOODS = {**MOODS, "flagged": refuses(403, "rule 7 of this gateway")}
TWICE = ("broken_off", "http_503")  # asked again: `api.tries` is 2


def test_each_row_mood_has_its_end_in_one_run(teaching: Teaching) -> None:
    """One row in each mood (kinds 1, 3, 4, 6, 13, 18), all others plain; nothing is paid again."""
    of_row = {INSTRUCTION.format(number): mood for number, mood in enumerate(ROW_MOODS)}

    def answer(call: Call) -> Behaviour:
        mood = of_row.get(call.question)
        return says("A plain answer.") if mood is None else _MOODS[mood]

    teaching.server.answer = answer
    run = teaching.run()
    assert run.code == 0, run.output
    expected = {text: ROW_MOODS[mood] for text, mood in of_row.items() if ROW_MOODS[mood]}
    assert teaching.dropped == expected
    assert teaching.taught == ROWS - len(expected)
    again = sum(reason in TWICE for reason in expected.values())
    assert len(teaching.server.calls) == ROWS + again
    # what was not kept is asked for once more, and nothing else
    teaching.edit(teach__max_dropped=0.4)
    assert teaching.run().code == 0
    asked = {of_row[text] for text in teaching.server.questions if text in of_row}
    kept = (None, "truncated", "content_filter")
    assert asked == {mood for mood, reason in ROW_MOODS.items() if reason not in kept}
    assert len(teaching.server.questions) <= len(asked) + again + 1, "one may test the key"


# --- moods that stop: what was answered is kept, and the next run pays for the rest alone ---------

STOPS: dict[str, tuple[Behaviour, str]] = {
    "refuse-one:401": (refuses(401, "bad key"), "bad key"),
    "refuse-one:402": (refuses(402, "Insufficient balance"), "Top up the account"),
    "quota": (refuses(429, "You exceeded your current quota"), "Top up the account"),
    "model gone": (refuses(404, "The model `m` does not exist"), "does not exist"),
}


@pytest.mark.parametrize(
    "stop",
    [
        "refuse-one:402",
        *(pytest.param(name, marks=pytest.mark.slow) for name in STOPS if "402" not in name),
    ],
)
def test_a_stop_with_64_in_flight_loses_no_reply(teaching: Teaching, stop: str) -> None:
    """Kinds 2 and 5: 63 are answered after the refusal, kept, and never paid again."""
    refusal, words = STOPS[stop]
    teaching.edit(api__concurrency=IN_FLIGHT)
    teaching.server.answer = _after_the_40th(refusal)
    run = teaching.run()
    assert run.code != 0
    assert words in run.output
    assert len(teaching.server.calls) == IN_FLIGHT
    assert teaching.project.replies() == IN_FLIGHT - 1
    teaching.server.answer = says("A plain answer.")
    assert teaching.run().code == 0
    assert len(teaching.server.calls) == ROWS - IN_FLIGHT + 1
    assert teaching.taught == ROWS
    assert teaching.dropped == {}


@pytest.mark.slow
def test_an_account_without_credit_at_the_98th_call_drops_no_row(teaching: Teaching) -> None:
    """Kind 5: mood no-credit:98; and a key revoked at the 98th call, by a mere 403."""
    teaching.edit(api__concurrency=1)
    for refusal in (refuses(402, "Insufficient balance"), refuses(403, "Forbidden")):
        teaching.server.answer = lambda call, refusal=refusal: (
            refusal if "number 99 " in call.question or "number 98 " in call.question
            else says("A plain answer.")
        )  # fmt: skip
        if refusal.status == 403:  # the whole account
            teaching.server.answer = refusal
        run = teaching.run()
        assert run.code != 0, run.output
        assert teaching.project.replies() == ROWS - 2
    teaching.server.answer = says("A plain answer.")
    assert teaching.run().code == 0
    assert (len(teaching.server.calls), teaching.taught, teaching.dropped) == (2, ROWS, {})


@pytest.mark.slow
def test_a_flagged_row_is_dropped_by_name_in_the_first_run_and_in_each_later_one(
    teaching: Teaching,
) -> None:
    """Kind 6: by moderation's own words, and by a bare 403."""
    for refusal, reason in (
        (refuses(403, "the input was flagged by moderation"), "moderated"),
        (refuses(403, "Forbidden"), "http_403"),
    ):
        teaching.server.answer = lambda call, refusal=refusal: (
            refusal if "shelter" in call.question else says("A plain answer.", delay=0.01)
        )
        run = teaching.run()
        assert run.code == 0, run.output
        (text,) = teaching.dropped
        assert "shelter" in text
        assert teaching.dropped[text] == reason
        teaching.edit(teach__max_dropped=0.4)  # the stage runs again: the row is alone in it


COUNTS: dict[str, tuple[int, int] | None] = {
    "no-usage": None,
    "zero-usage": (0, 0),
    "absurd-usage": (10**15, 10**15),
    "nine times the bound": (1200, 1200),
    "sudden": (20, 9),
}


@pytest.mark.parametrize(
    "mood",
    [
        "no-usage",
        *(pytest.param(name, marks=pytest.mark.slow) for name in COUNTS if name != "no-usage"),
    ],
)
def test_the_cap_holds_and_the_next_run_goes_on(teaching: Teaching, mood: str) -> None:
    """Kind 3: by the server's own count, where it has one that can be believed."""
    usage, cap, counts = COUNTS[mood], 20_000, []

    def answer(call: Call) -> Behaviour:
        sudden = mood == "sudden" and call.number > 20
        counts.append((1200, 1200) if sudden else usage)
        return says("A plain answer.", usage=counts[-1], delay=0.01)

    teaching.server.answer = answer
    teaching.edit(budget__tokens=cap)
    run = teaching.run()
    assert run.code != 0, run.output
    assert "the budget is reached" in run.output
    believed = [sum(count) for count in counts if count and 0 < sum(count) < 10**9]
    assert sum(believed) <= cap
    assert 0 < teaching.spent() <= cap
    first = len(teaching.server.calls)
    assert teaching.project.replies() == first < ROWS
    teaching.edit(budget__tokens=None)
    assert teaching.run().code == 0
    assert len(teaching.server.calls) == ROWS - first
    assert teaching.taught == ROWS


@pytest.mark.slow
def test_a_server_slower_than_the_timeout_stops_with_what_to_change(teaching: Teaching) -> None:
    """Kind 22: neither for ever, nor with all rows dropped."""
    teaching.edit(api__timeout=0.2, api__concurrency=16)
    teaching.server.answer = says("A plain answer.", delay=3.0)
    run = teaching.run()
    assert run.code != 0
    assert "Raise api.timeout" in run.output
    assert run.seconds < 60
    assert teaching.project.replies() == 0
    teaching.edit(api__timeout=8.0)
    teaching.server.answer = says("A plain answer.")
    assert teaching.run().code == 0
    assert teaching.taught == ROWS


@pytest.mark.slow
def test_a_reply_of_another_protocol_stops_after_a_few_calls(teaching: Teaching) -> None:
    """Kind 13."""
    teaching.server.answer = Behaviour(body=b'[{"generated_text": "A plain answer."}]')
    teaching.edit(api__concurrency=8)
    run = teaching.run()
    assert run.code != 0
    assert re.search(r"no answer of /chat/completions.*base_url", run.output)
    assert len(teaching.server.calls) <= 16


# --- files and settings: found before the teacher is asked ----------------------------------------


def _seed(project: Project, name: str, content: str, **changes: Any) -> Run:
    (project.root / "inputs" / name).write_text(content, encoding="utf-8")
    project.edit({key.replace("__", "."): value for key, value in changes.items()})
    return project.repro("--single-item", "seed")


@pytest.mark.slow
def test_texts_under_other_names_reach_the_pool_and_the_exam(teaching: Teaching) -> None:
    """Kinds 7 and 8: context, history, system prompt; the options of an exam with their letters."""
    project = teaching.project
    rows = [
        {"instruction": "Who is named?", "context": "Anna met Ben in Oslo.", "response": "x"},
        {"system_prompt": "You are a pirate.", "question": "What is a brick?", "response": "x"},
        {"instruction": "And its capital?", "output": "x", "history": [["West of?", "Portugal"]]},
    ]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    run = _seed(project, "others.jsonl", text, seed__source=["inputs/others.jsonl"])
    assert run.code == 0, run.output
    pool = json.dumps(project.rows("0/train_pool.jsonl"))
    assert all(words in pool for words in ("Ben in Oslo", "a pirate", "Portugal"))
    exam = {"question": "Which planet is largest?", "choices": ["Mars", "Jupiter"], "answer": "B"}
    run = _seed(project, "choices.jsonl", json.dumps(exam), exam__file="inputs/choices.jsonl")
    assert run.code == 0, run.output
    (row,) = project.rows("exam.jsonl")
    assert "(B) Jupiter" in row["messages"][-1]["content"]


DEFECTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a ragged table": (
        "instruction,input,output\nRewrite.,a,b\nSummarise the minutes.\n",
        "defect.csv:3: fewer cells than the header has", {},
    ),
    "a missing value": ('{"instruction": "Sort.", "input": "nan"}\n', "defect.csv:1: ", {}),
    "turns that do not alternate": (
        '{"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]}\n',
        "turn 2", {},
    ),
    "an SDK's words": (
        '{"instruction": "Sort."}\n', "extra_body",
        {"teacher.request": {"max_tokens": 60, "extra_body": {"thinking": False}}},
    ),
    "a broken address": ('{"instruction": "Sort."}\n', "base_url",
                         {"teacher.base_url": "http://localhost:abc/v1"}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_stops_the_first_stage_with_its_place(teaching: Teaching, defect: str) -> None:
    """Kinds 9, 15, 16 and 19: the teacher is asked nothing, and no traceback is shown."""
    content, words, changes = DEFECTS[defect]
    name = "defect.csv" if "ragged" in defect else "defect.jsonl"
    teaching.project.edit({"seed.source": [f"inputs/{name}"], **changes})
    run = _seed(teaching.project, name, content)
    assert run.code != 0
    assert words.replace("defect.csv:1", "defect.jsonl:1") in run.output, run.output
    assert "Traceback" not in run.output
    assert teaching.server.calls == []
