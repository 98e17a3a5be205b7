"""What counts against `max_dropped` stops each phase that asks, as the replies arrive."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_server import Behaviour, ChatServer, says
from fixtures import Configure

from lion.config import project
from lion.config.settings import Endpoint, Settings
from lion.discrimination import pairwise
from lion.discrimination.pairwise import Pair, ReviewLimit
from lion.errors import TooManyDroppedError
from lion.generation.filters.safety import Safety
from lion.generation.teach import teach
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.prompting import templates
from lion.prompting.templates import PromptRole, Prompts
from lion.records.rows import Answer, Instruction
from lion.stage_table import Role

ROOT = Path(__file__).parents[1]
IN_FLIGHT, ROWS = 8, 200
CUT = says("half an ans", finish_reason="length")


@dataclass
class Live:
    """Clients of the loopback server, on one ledger."""

    settings: Settings
    ledger: Ledger

    @contextmanager
    def open(self, role: Role, endpoint: Endpoint) -> Iterator[LLMClient]:
        with LLMClient(endpoint, self.settings.api, self.ledger, 0, role=role) as client:
            yield client


@pytest.fixture
def live(chat_server: ChatServer, tmp_path: Path, configure: Configure) -> Iterator[Live]:
    changes: dict[str, object] = {"api.concurrency": IN_FLIGHT, "api.max_wait": 0.01}
    for role in ("teacher", "referee", "generator"):
        changes |= {f"{role}.base_url": chat_server.url, f"{role}.api_key_env": None}
        changes[f"{role}.request"] = {"max_tokens": 80}
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield Live(configure(changes), ledger)


def prompts(role: PromptRole) -> Prompts:
    return templates.load(ROOT / project.PROMPTS / role, role)


def rows() -> list[Instruction]:
    return [
        Instruction.new([{"role": "user", "content": f"q{number}"}], origin="seed", iteration="0")
        for number in range(ROWS)
    ]


def taught(live: Live) -> None:
    teach(rows(), [], live.settings, live, prompts("teacher"))


def reviewed(live: Live) -> None:
    pairs = [
        Pair(f"{n:016x}", f"q{n}", "a", Answer(f"{n:016x}", "b", "stop", "m"), "")
        for n in range(ROWS)
    ]
    with live.open("referee", live.settings.referee) as client:
        pairwise.ask(
            client,
            [(pair, "teacher_first") for pair in pairs],
            prompts("referee"),
            "text",
            ReviewLimit(0.02, "review.max_dropped"),
        )


def made_safe(live: Live) -> None:
    with live.open("safety", live.settings.referee) as client:
        Safety(client, prompts("safety"), 4).rejected(rows())


PHASES: dict[str, tuple[Callable[[Live], None], str]] = {
    "teach": (taught, "teacher.request.max_tokens: 80"),
    "review": (reviewed, "referee.request.max_tokens: 80"),
    "safety": (made_safe, "referee.request.max_tokens: 80"),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_cap_that_cuts_answers_off_stops_the_phase(
    chat_server: ChatServer, live: Live, phase: str
) -> None:
    """After those allowed (2 % of 200) and those in flight; the message names the cap."""
    run, cap = PHASES[phase]
    chat_server.answer = CUT
    with pytest.raises(TooManyDroppedError, match=cap):
        run(live)
    assert len(chat_server.calls) <= 4 + 1 + IN_FLIGHT


def test_replies_that_cannot_be_read_stop_the_review(chat_server: ChatServer, live: Live) -> None:
    chat_server.answer = says("They are both fine.")
    with pytest.raises(TooManyDroppedError, match=r"review\.max_dropped allows 4"):
        reviewed(live)
    assert len(chat_server.calls) <= 4 + 1 + IN_FLIGHT


def test_a_small_run_does_not_end_at_one_cut_off_answer(
    chat_server: ChatServer, live: Live
) -> None:
    def answer(call: object) -> Behaviour:
        return CUT if chat_server.calls[0] is call else says("whole")

    chat_server.answer = answer
    done = teach(rows()[:8], [], live.settings, live, prompts("teacher"))
    assert (len(done.new), len(done.dropped)) == (7, 1)
