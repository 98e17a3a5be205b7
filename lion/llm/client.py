"""A client as stages and commands use it: params' endpoint and budget, the project's ledger."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lion import console
from lion.config import project
from lion.config.settings import Api, Endpoint, Mode, Settings
from lion.errors import MissingRepliesError
from lion.llm import garbage
from lion.llm.budget import UsageStats
from lion.llm.ledger import Cap, Ledger, cap
from lion.llm.prices import Prices
from lion.llm.request_set import PreparedRequest, RequestSet
from lion.prompting import protocol
from lion.prompting.protocol import Failure, Outcome, Reply, Request
from lion.stage_table import Role

if TYPE_CHECKING:
    from lion.llm.sender import Sender

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class LLMClient:
    """A client of one endpoint, with the ledger before it. Use as a context manager.

    Raises EndpointError where the server refuses for good, AskError where the ledger cannot be
    used, BudgetError where `cap` is reached. One that never `sends` raises MissingRepliesError
    where the ledger lacks a reply.
    """

    endpoint: Endpoint
    api: Api
    ledger: Ledger
    random_seed: int
    progress: Progress | None = None
    stage: str = ""
    prices: Prices = field(default_factory=lambda: Prices({}))
    cap: Cap = field(default_factory=Cap)
    usage: UsageStats = field(default_factory=UsageStats)
    mode: Mode = "live"
    sends: bool = True
    _runner: asyncio.Runner = field(default_factory=asyncio.Runner)
    _made: "Sender | None" = None
    _answered: bool = False

    def __enter__(self) -> Self:
        """Open an event loop; the client is made when the first reply is missing."""
        self._runner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close connections, loop and, where there is one, the embedded teacher."""
        try:
            if self._made is not None:
                self._runner.run(self._made.close())
        finally:
            self._runner.__exit__(kind, error, trace)

    def complete(self, requests: Sequence[Request], max_failed: int | None = None) -> list[Outcome]:
        """Return one outcome per request, in their order.

        Known replies come from the ledger, the others from the endpoint. Raises TooManyDroppedError
        as soon as more than `max_failed` distinct requests failed for good: nothing more is paid.
        """
        return list(self.complete_each(requests, max_failed))

    def complete_each(
        self, requests: Sequence[Request], max_failed: int | None = None
    ) -> Iterator[Outcome]:
        """Ask all, as `ask` does, then return the outcomes one by one, read from the ledger.

        So that memory grows by a key a request and no more: `requests` may make each when indexed.
        """
        started = time.monotonic()
        if self.mode == "batch":
            self._bring(requests)
        asked = self._look_up(requests, max_failed)
        if asked.missing and not self.sends:
            raise MissingRepliesError(len(asked.missing))
        self._advance(asked.known, asked.distinct)
        too_many = asked.too_many()
        if too_many is not None:
            raise too_many
        if asked.missing:
            items = (self._item(requests[place]) for place in asked.missing)
            with garbage.rarely():
                self._runner.run(self._sender.send(items, asked, self._advance))
        self.usage.seconds += time.monotonic() - started
        self.usage.failed += len(asked.failed)
        return self._outcomes(asked)

    def probe(self, request: Request) -> Outcome:
        """Ask once, past the ledger and without retrying, to learn whether the endpoint answers."""
        return self._runner.run(self._sender.probe(self._item(request)))

    def check_batch_api(self) -> None:
        """Raise EndpointError where the endpoint has no Batch API; costs nothing."""
        self._runner.run(self._sender.check_batch_api())

    def _bring(self, requests: Sequence[Request]) -> None:
        """Let batches bring what they can. Raises BatchesPendingError where they are at work."""
        places = {self._item(request).key: place for place, request in enumerate(requests)}
        known = self.ledger.known(list(places))
        missing = [key for key in places if key not in known]
        if not missing:
            return

        def make(key: bytes) -> PreparedRequest:
            return self._item(requests[places[key]])

        self._runner.run(self._sender.bring(missing, make, len(places)))
        self.usage.hits -= len(self.ledger.known(missing))  # fetched now: calls, and no hits

    def _look_up(self, requests: Sequence[Request], max_failed: int | None) -> RequestSet:
        """Find out which of `requests` are known, each once."""
        keys = [self._item(request).key for request in requests]
        places: dict[bytes, int] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, place)
        distinct, failed = len(places), {}
        for chunk in _chunks(list(places)):
            for key, raw in self.ledger.look_up(chunk).items():
                del places[key]
                outcome = self._read(raw)
                if isinstance(outcome, Failure):
                    failed[key] = outcome
        allowed = distinct if max_failed is None else max_failed
        who = f"{self.endpoint.model} at {self.endpoint.base_url}"
        missing = list(places.values())
        self._answered = self._answered or len(missing) < distinct
        asked = RequestSet(who, keys, distinct, missing, failed, allowed, self._answered)
        self.usage.needed += distinct
        self.usage.hits += asked.known
        return asked

    def _outcomes(self, asked: RequestSet) -> Iterator[Outcome]:
        counted: set[bytes] = set()
        unknown: Counter[str] = Counter()
        for chunk in _chunks(asked.keys):
            replies = self.ledger.look_up(list(set(chunk)))
            for key in chunk:
                raw = replies.get(key)
                if raw is None:
                    yield asked.failed[key]
                    continue
                if key not in counted:
                    counted.add(key)
                    self.usage.count_usage(protocol.usage(raw))
                outcome = self._read(raw)
                unknown.update(_unknown_ending(outcome))
                yield outcome
        _show(unknown)

    def _read(self, raw: bytes) -> Outcome:
        return protocol.without_thoughts(protocol.parse(raw), self.endpoint.thinking)

    def _item(self, request: Request) -> PreparedRequest:
        body = protocol.canonical(protocol.body(request, self.endpoint, self.random_seed))
        return PreparedRequest(
            protocol.key(self.endpoint, body, request.sample), body, request.sample
        )

    @property
    def _sender(self) -> "Sender":
        """What sends, made when the first reply is missing."""
        if self._made is None:
            from lion.llm.sender import Sender  # openai: 0.4 s, not needed by a full ledger

            self._made = Sender(
                self.endpoint,
                self.api,
                self.ledger,
                self.stage,
                self.prices,
                self.cap,
                self.usage,
            )
        return self._made

    def _advance(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(done, total)


def _chunks(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK))


def _unknown_ending(outcome: Outcome) -> list[str]:
    """Return the word of a reply's end that stands in no table, as a list of one, else of none."""
    if isinstance(outcome, Reply) and outcome.ending == "unknown":
        return [protocol.valid_text(outcome.finish_reason)[:40]]
    return []


def _show(unknown: Counter[str]) -> None:
    for word, count in unknown.most_common(3):
        console.say(
            f"{count:,} replies ended with finish_reason {word!r}, which no table knows: they are "
            "not taken for whole. What it means goes into lion/prompting/replies.py."
        )


@contextmanager
def opened(settings: Settings, role: Role, endpoint: Endpoint, stage: str) -> Iterator[LLMClient]:
    """Yield a client of `endpoint` for `stage` (such as `teach@1`), with a progress bar."""
    with (
        Ledger(project.ledger()) as ledger,
        console.progress(f"{stage}: {role}") as update,
        LLMClient(
            endpoint,
            settings.api,
            ledger,
            settings.random_seed,
            progress=update,
            stage=stage,
            prices=Prices.load(project.PRICES),
            cap=cap(settings.budget),
            mode=getattr(settings.api.mode, role, "live"),  # a served student has no Batch API
        ) as client,
    ):
        yield client


_CHUNK = 1000
"""Requests that are looked up together."""
