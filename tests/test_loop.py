"""The loop is written once: stage, plan and experiment call the same phase functions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tiny
from fake_server import ChatServer, says
from fixtures import Workplace

from lion.config import project
from lion.config.settings import Endpoint, Settings
from lion.discrimination import review as review_phase
from lion.llm.ledger import Ledger
from lion.llm.request_set import NO_LIMIT, DropLimit
from lion.llm.usage import UsageStats
from lion.loop import Loop, State
from lion.pipeline.rehearsal import rehearse
from lion.pipeline.stage import Work
from lion.prompting import teacher
from lion.prompting import templates as prompts
from lion.prompting.protocol import Outcome, Reply, Request, Usage
from lion.prompting.templates import PromptRole
from lion.records import jsonl
from lion.records.rows import Answer, Verdict
from lion.stage_table import Role
from lion.training.report import TuneReport
from stages import review

SCORES = "Score of Assistant 1: 8\nScore of Assistant 2: 3"
ROLES: tuple[PromptRole, ...] = ("teacher", "referee", "generator")


@dataclass
class Scripted:
    """Clients that say the same in each role, and keep what they were asked."""

    words: dict[str, str]
    asked: dict[str, list[Request]] = field(default_factory=dict)

    @contextmanager
    def open(self, role: Role, endpoint: Endpoint) -> Iterator["Speaker"]:  # noqa: ARG002 - scripted
        yield Speaker(self, role)


@dataclass
class Speaker:
    script: Scripted
    role: str
    usage: UsageStats = field(default_factory=UsageStats)

    def complete(self, requests: Sequence[Request], limit: DropLimit = NO_LIMIT) -> list[Outcome]:
        return list(self.complete_each(requests, limit))

    def complete_each(
        self,
        requests: Sequence[Request],
        limit: DropLimit = NO_LIMIT,  # noqa: ARG002 - none fails
    ) -> Iterator[Outcome]:
        for number, request in enumerate(requests):
            self.script.asked.setdefault(self.role, []).append(request)
            text = self.script.words[self.role].format(number=number * 7)
            yield Reply(text, "stop", "m", Usage(1, 1))


ROWS = [
    teacher.taught(row, Answer(row.id, "right", "stop", "m"))
    for row in (tiny.instruction(f"Say line {number} of the song") for number in range(12))
]


@pytest.fixture
def settings(workplace: Workplace, chat_server: ChatServer) -> Settings:
    """Return params of a small loop whose referee and student are on loopback."""
    chat_server.answer = says(SCORES)
    here = {"base_url": chat_server.url, "api_key_env": None, "send_seed": False}
    return workplace.params(
        {
            **{f"referee.{key}": value for key, value in here.items()},
            "student.endpoint": {**here, "request": {}},
            "respond.limit": None,
            "generate.hard": 2,
            "generate.easy": 0,
            "generate.per_parent": None,
        }
    )


def staged(settings: Settings) -> Work:
    """Write what the stage review@1 reads."""
    unjudged = [Verdict(row.id, None, None, None, "undecided", "new") for row in ROWS]
    jsonl.write(project.data("0", "cache_pool.jsonl"), ROWS)
    jsonl.write(project.data("0", "verdicts.jsonl"), unjudged)
    jsonl.write(
        project.data("1", "responses.jsonl"), [Answer(row.id, "far", "stop", "s") for row in ROWS]
    )
    return Work("review", "1", settings)


def experiment(settings: Settings, folder: Path) -> tuple[Scripted, State, Any]:
    """Run one iteration in this process, with nothing tuned."""
    script = Scripted(
        {
            "student": "far",
            "referee": SCORES,
            "generator": "Write verse {number} about lions",
            "teacher": "roar",
        }
    )
    templates = {role: prompts.load(project.PROMPTS / role, role) for role in ROLES}

    def fine_tune(examples: Sequence[Any], *_: Any) -> TuneReport:
        return TuneReport((), 1, 1, len(examples), (), ())

    loop = Loop(settings, script, templates, [], fine_tune)
    start = State(0, ROWS, [], tiny.folder(folder / "student"))
    after, iteration = loop.iterate(start, folder / "student-1")
    return script, after, iteration


def test_an_iteration_goes_from_responses_to_a_tuned_student(
    settings: Settings, workplace: Workplace
) -> None:
    script, after, iteration = experiment(settings, workplace.path)
    assert [len(script.asked[role]) for role in ("student", "referee")] == [12, 24]
    assert {row.difficulty for row in after.verdicts} == {"easy"}, "the orders cancel out"
    assert iteration.divided.stop_reason is not None
    assert iteration.generated.kept == []
    assert after.student == workplace.path / "student", "nothing new: the student before"


def test_new_instructions_are_asked_taught_and_tuned_on(
    settings: Settings, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "SCORES", "Score of Assistant 1: 9\nScore of Assistant 2: 9")
    hard = settings.model_copy(update={"split": settings.split.model_copy(update={"tau": 0.0})})
    script, after, iteration = experiment(hard, workplace.path)
    texts = [row.messages[0]["content"] for row in iteration.generated.kept]
    assert texts == ["Write verse 0 about lions", "Write verse 7 about lions"]
    assert [row.answer.text for row in after.cache[-2:] if row.answer] == ["roar", "roar"]
    assert len(script.asked["teacher"]) == 2
    assert (iteration.tuned.new, len(iteration.tuned.replayed)) == (2, 2 * 4), "tune.replay: 4"
    assert after.student == workplace.path / "student-1"


def test_one_change_of_the_review_changes_stage_plan_and_experiment(
    settings: Settings,
    workplace: Workplace,
    chat_server: ChatServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A copy of the loop somewhere would go on as before."""

    def counted() -> tuple[int, int, int]:
        work = staged(settings)
        with Ledger(workplace.path / "empty.sqlite") as ledger:
            planned = rehearse(settings, {"review@1"}, ledger)["review@1", "referee"].missing
        before = len(chat_server.calls)
        project.ledger().unlink(missing_ok=True)
        review.main(work)
        script, _, _ = experiment(settings, workplace.path)
        return len(chat_server.calls) - before, planned, len(script.asked["referee"])

    assert counted() == (24, 24, 24)
    whole = review_phase.select
    monkeypatch.setattr(review_phase, "select", lambda *args, **more: whole(*args, **more)[::3])
    assert counted() == (8, 8, 8)


def test_the_plan_goes_on_in_memory_while_all_replies_are_known(settings: Settings) -> None:
    """Review is paid for: then split is certain, and so is whether anything is generated."""
    work = staged(settings)
    review.main(work)
    for name in ("reviews", "selection", "dropped.review"):
        project.data("1", f"{name}.jsonl").unlink()
    jsonl.write(project.EXAM, [])
    jsonl.write_document(project.FURTHER_EXAMS, {"items": []})
    jsonl.write_document(project.data("0", "replayed.json"), {"ids": []})
    with Ledger(project.ledger()) as ledger:
        certain = rehearse(settings, {"review@1", "split@1", "generate@1", "teach@1"}, ledger)
    assert certain["review@1", "referee"].in_ledger == 24
    assert certain["review@1", "referee"].missing == 0
    assert certain["generate@1", "generator"].missing == 0, "nothing is hard: the loop stops"
    assert certain["teach@1", "teacher"].missing == 0
    assert not project.data("1", "verdicts.jsonl").exists(), "a plan writes nothing"
