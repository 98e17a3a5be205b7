"""The client of stages and commands: an endpoint of params.yaml, with the ledger before it."""

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
from lion.llm.caps import Cap, budget_cap
from lion.llm.ledger import Ledger
from lion.llm.prices import Prices
from lion.llm.request_set import NO_LIMIT, DropLimit, PreparedRequest, RequestSet
from lion.llm.usage import UsageStats
from lion.prompting import protocol
from lion.prompting.protocol import Outcome, Reply, Request
from lion.prompting.reply_document import valid_text
from lion.stage_table import Role

if TYPE_CHECKING:
    from lion.llm.sender import Sender

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class LLMClient:
    """A client of one endpoint, with the ledger before it. Use as a context manager.

    Raises EndpointError where the server refuses for good, AskError where the ledger cannot be
    used, BudgetError where `cap` is reached. With `sends=False` it raises MissingRepliesError
    where the ledger lacks a reply.
    """

    endpoint: Endpoint
    api: Api
    ledger: Ledger
    random_seed: int
    progress: Progress | None = None
    stage: str = ""
    role: Role | None = None
    prices: Prices = field(default_factory=lambda: Prices({}))
    cap: Cap = field(default_factory=Cap)
    usage: UsageStats = field(default_factory=UsageStats)
    mode: Mode = "live"
    sends: bool = True
    _runner: asyncio.Runner = field(default_factory=asyncio.Runner)
    _open_sender: "Sender | None" = None

    def __enter__(self) -> Self:
        """Open an event loop; the sender is created when the first reply is missing."""
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
            if self._open_sender is not None:
                self._runner.run(self._open_sender.close())
        finally:
            self._runner.__exit__(kind, error, trace)

    def complete(self, requests: Sequence[Request], limit: DropLimit = NO_LIMIT) -> list[Outcome]:
        """Return one outcome per request, in their order.

        Replies come from the ledger where it has them, else from the endpoint. Raises
        TooManyDroppedError as soon as more distinct requests are dropped than `limit` allows: no
        further call is made.
        """
        return list(self.complete_each(requests, limit))

    def complete_each(
        self, requests: Sequence[Request], limit: DropLimit = NO_LIMIT
    ) -> Iterator[Outcome]:
        """Complete all requests, as `complete` does, then yield the outcomes from the ledger.

        Holds one key per request; `requests` may build each when indexed.
        """
        started = time.monotonic()
        if self.mode == "batch":
            self._complete_in_batches(requests)
        wanted = self._look_up(requests, limit)
        try:
            self._complete_missing(wanted, requests)
        finally:
            self.usage.seconds += time.monotonic() - started
            self.usage.failed += len(wanted.failed)
            self.usage.dropped += len(wanted.dropped)
        return self._outcomes(wanted)

    def _complete_missing(self, wanted: RequestSet, requests: Sequence[Request]) -> None:
        if wanted.missing and not self.sends:
            raise MissingRepliesError(len(wanted.missing))
        self._advance(wanted.stored, wanted.distinct)
        too_many = wanted.too_many()
        if too_many is not None:
            raise too_many
        if wanted.missing:
            queue = (self._prepare(requests[index], index) for index in wanted.missing)
            self._runner.run(self._sender.send(queue, wanted, self._advance))

    def probe(self, request: Request) -> Outcome:
        """Send one request past the ledger, without a retry. Thoughts in its content are left."""
        endpoint = self.endpoint
        with console.waiting(f"waiting for {endpoint.model} at {endpoint.base_url} to answer"):
            return self._runner.run(self._sender.probe(self._prepare(request)))

    def check_batch_api(self) -> None:
        """Raise EndpointError where the endpoint has no Batch API; costs nothing."""
        self._runner.run(self._sender.check_batch_api())

    def _complete_in_batches(self, requests: Sequence[Request]) -> None:
        """Complete what batches can. Raises BatchesPendingError where some are at work."""
        indices = {self._prepare(request).key: index for index, request in enumerate(requests)}
        stored = self.ledger.stored_keys(list(indices))
        missing = [key for key in indices if key not in stored]
        if not missing:
            return

        def build(key: bytes) -> PreparedRequest:
            return self._prepare(requests[indices[key]])

        sender = self._sender
        self._runner.run(sender.complete_in_batches(missing, build, len(indices)))
        fetched = self.ledger.stored_keys(missing)
        self.usage.hits -= len(fetched)  # counted as calls, so they are no hits

    def _look_up(self, requests: Sequence[Request], limit: DropLimit) -> RequestSet:
        """Return which of `requests` the ledger lacks, each key once."""
        keys = [self._prepare(request).key for request in requests]
        indices: dict[bytes, int] = {}
        for index, key in enumerate(keys):
            indices.setdefault(key, index)
        wanted = RequestSet(self.endpoint, self.role, keys, len(indices), [], limit)
        for chunk in _chunks(list(indices)):
            for key, raw in self.ledger.look_up(chunk).items():
                wanted.record_outcome(key, indices.pop(key), self._read(raw))
        wanted.missing = list(indices.values())
        self.usage.needed += wanted.distinct
        self.usage.hits += wanted.stored
        return wanted

    def _outcomes(self, wanted: RequestSet) -> Iterator[Outcome]:
        counted: set[bytes] = set()
        unknown: Counter[str] = Counter()
        for chunk in _chunks(wanted.keys):
            replies = self.ledger.look_up(list(set(chunk)))
            for key in chunk:
                raw = replies.get(key)
                if raw is None:
                    yield wanted.failed[key]
                    continue
                if key not in counted:
                    counted.add(key)
                    self.usage.count_usage(protocol.usage(raw))
                outcome = self._read(raw)
                unknown.update(_unknown_finish_reason(outcome))
                yield outcome
        _warn_of(unknown)

    def _read(self, raw: bytes) -> Outcome:
        return protocol.without_thoughts(protocol.parse(raw), self.endpoint.thinking)

    def _prepare(self, request: Request, index: int = 0) -> PreparedRequest:
        body = protocol.canonical(protocol.body(request, self.endpoint, self.random_seed))
        key = protocol.key(self.endpoint, body, request.sample)
        return PreparedRequest(key, body, request.sample, index)

    @property
    def _sender(self) -> "Sender":
        """The sender, created when the first reply is missing."""
        if self._open_sender is None:
            from lion.llm.sender import Sender  # openai: 0.4 s, not needed by a full ledger

            self._open_sender = Sender(
                self.endpoint,
                self.api,
                self.ledger,
                self.stage,
                self.prices,
                self.cap,
                self.usage,
            )
        return self._open_sender

    def _advance(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(done, total)


def _chunks(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK))


def _unknown_finish_reason(outcome: Outcome) -> list[str]:
    """Return a reply's finish_reason where no table has it, as a list of one, else of none."""
    if isinstance(outcome, Reply) and outcome.ending == "unknown":
        return [valid_text(outcome.finish_reason)[:40]]
    return []


def _warn_of(unknown: Counter[str]) -> None:
    for word, count in unknown.most_common(3):
        console.say(
            f"{count:,} replies ended with finish_reason {word!r}, which no table knows: they are "
            "not taken for whole. What it means goes into lion/prompting/replies.py."
        )


@contextmanager
def open_client(
    settings: Settings, role: Role, endpoint: Endpoint, stage: str
) -> Iterator[LLMClient]:
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
            role=role,
            prices=Prices.load(project.PRICES),
            cap=budget_cap(settings.budget),
            mode=getattr(settings.api.mode, role, "live"),  # a served student has no Batch API
        ) as client,
    ):
        yield client


_CHUNK = 1000
"""Keys that are looked up together."""
