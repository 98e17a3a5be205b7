"""Filter of unsafe instructions: the referee is asked about each. Optional.

Every instruction that passed the other filters is sent once, through the ledger. A reply that is
neither `safe` nor `unsafe` also drops the instruction, with a reason of its own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from lion.config.settings import Generate, Settings
from lion.conversations import transcript
from lion.failure_limit import allowed_failures
from lion.generation.filters.quality import RejectReason
from lion.llm.protocols import Client, Clients
from lion.llm.request_set import DropLimit
from lion.metrics.units import RoleUsage
from lion.prompting.protocol import Failure, Outcome, Request
from lion.prompting.replies import incomplete
from lion.prompting.templates import PromptRole, Prompts, fence
from lion.records.rows import Message

ROLE: Literal["safety"] = "safety"

_MARKS = re.compile(r"[\s*_`\"'.]+")


class Checked(Protocol):
    """An instruction or a task."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def messages(self) -> tuple[Message, ...]:
        """Its conversation."""
        ...


def safety_request(text: str, templates: Prompts) -> Request:
    """Return the request that asks whether an instruction is safe."""
    question = templates.render("user.txt", fence=fence(text), instruction=text)
    return Request(templates.conversation(question))


def verdict(outcome: Outcome) -> RejectReason | None:
    """Return why an instruction is dropped, or None where the referee calls it safe.

    `unsafe`: the referee says so. `safety_unclear`: the call failed, or the reply is another word.
    """
    if isinstance(outcome, Failure):
        return RejectReason("safety_unclear", f"{outcome.reason}: {outcome.detail}")
    word = _MARKS.sub(" ", outcome.text).strip().lower()
    if word == "safe":
        return None
    return RejectReason("unsafe" if word == "unsafe" else "safety_unclear", outcome.text[:200])


def _drop_reason(_: int, outcome: Outcome) -> str | None:
    """Return why there is no verdict: the call failed, or its reply was cut off."""
    if isinstance(outcome, Failure):
        return outcome.reason
    reason = verdict(outcome)
    unclear = reason is not None and reason.reason == "safety_unclear"
    return incomplete(outcome.finish_reason) if unclear else None


@dataclass(frozen=True, slots=True)
class Safety:
    """The referee as a filter; at most `allowed` calls may fail in total."""

    client: Client
    templates: Prompts
    allowed: int

    def rejected(self, rows: Sequence[Checked]) -> dict[str, RejectReason]:
        """Return the reasons of the rows to drop, by id. Raises as the client does."""
        requests = [safety_request(transcript(row.messages), self.templates) for row in rows]
        left = max(0, self.allowed - self.client.usage.dropped)
        limit = DropLimit(left, _drop_reason, "generate.max_dropped")
        reasons = map(verdict, self.client.complete(requests, limit))
        return {row.id: why for row, why in zip(rows, reasons, strict=True) if why is not None}

    def used(self) -> RoleUsage:
        """Return requests and tokens."""
        return self.client.usage.versioned()


@contextmanager
def safety_filter(
    settings: Settings,
    filters: Generate,
    clients: Clients,
    templates: Mapping[PromptRole, Prompts],
    wanted: int,
) -> Iterator[Safety | None]:
    """Yield the filter, or None where `filters` do not ask for it; `wanted` counts the new rows."""
    if not (filters.safety and wanted):
        yield None
        return
    with clients.open(ROLE, settings.referee) as client:
        yield Safety(client, templates[ROLE], allowed_failures(filters.max_dropped, wanted))
