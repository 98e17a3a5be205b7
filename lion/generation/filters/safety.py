"""The referee's word on whether a new instruction is safe; optional.

Each one that every other gate let in is asked once, through the ledger. A reply that is neither
`safe` nor `unsafe` is no permission: the instruction is dropped, with a reason of its own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from lion.config.settings import Generate, Settings
from lion.failure_limit import allowed_failures
from lion.generation.filters.quality import Flaw
from lion.llm.protocols import Client, Clients
from lion.metrics.units import RoleUsage
from lion.prompting.protocol import Failure, Outcome, Request
from lion.prompting.templates import PromptRole, Prompts, fence
from lion.records.rows import Message
from lion.student.chat_format import transcript

ROLE: Literal["safety"] = "safety"

_MARKS = re.compile(r"[\s*_`\"'.]+")


class Checked(Protocol):
    """An instruction or a task."""

    @property
    def id(self) -> str:
        """Its name."""
        ...

    @property
    def messages(self) -> tuple[Message, ...]:
        """Its conversation."""
        ...


def safety_request(text: str, templates: Prompts) -> Request:
    """Return the question of whether an instruction is safe."""
    asked = templates.render("user.txt", fence=fence(text), instruction=text)
    return Request(templates.conversation(asked))


def verdict(outcome: Outcome) -> Flaw | None:
    """Return why an instruction is dropped, or None where the referee calls it safe.

    `unsafe`: it says so. `safety_unclear`: the call failed, or the reply is not that one word.
    """
    if isinstance(outcome, Failure):
        return Flaw("safety_unclear", f"{outcome.reason}: {outcome.detail}")
    word = _MARKS.sub(" ", outcome.text).strip().lower()
    if word == "safe":
        return None
    return Flaw("unsafe" if word == "unsafe" else "safety_unclear", outcome.text[:200])


@dataclass(frozen=True, slots=True)
class Safety:
    """The referee, asked of texts; `allowed` calls may fail in all."""

    client: Client
    templates: Prompts
    allowed: int

    def flaws(self, rows: Sequence[Checked]) -> dict[str, Flaw]:
        """Return why rows are dropped, by id, of those that are. Raises as the asker does."""
        requests = [safety_request(transcript(row.messages), self.templates) for row in rows]
        left = max(0, self.allowed - self.client.account.failed)
        found = map(verdict, self.client.ask(requests, max_failed=left))
        return {row.id: flaw for row, flaw in zip(rows, found, strict=True) if flaw is not None}

    def used(self) -> RoleUsage:
        """Return requests and tokens."""
        return self.client.account.versioned()


@contextmanager
def safety_filter(
    settings: Settings,
    filters: Generate,
    clients: Clients,
    templates: Mapping[PromptRole, Prompts],
    wanted: int,
) -> Iterator[Safety | None]:
    """Yield the gate, or None where `filters` ask for none; `wanted` texts are to be made."""
    if not (filters.safety and wanted):
        yield None
        return
    with clients.open(ROLE, settings.referee) as client:
        yield Safety(client, templates[ROLE], allowed_failures(filters.max_dropped, wanted))
