"""Asking in batches: submit, leave, come back, keep what was done, and say what is left.

A batch takes up to a day, so nothing waits for one: a run submits and ends with
BatchesPendingError; a later one keeps what came back in the same ledger, under the same keys, as if
it had been asked live. What is left over, and too little to wait another day for, is asked live.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

from filelock import FileLock, Timeout

from lion import console
from lion.config.settings import Api
from lion.errors import BatchesPendingError, BusyError, EndpointError
from lion.llm import batch_client, budget
from lion.llm.batch_client import BatchClient, BatchLine, BatchState
from lion.llm.batch_store import PREPARED, BatchStore, Submission
from lion.llm.budget import CostEstimator, UsageStats
from lion.llm.ledger import Call, Entry, FailedCall, Ledger
from lion.llm.request_set import PreparedRequest
from lion.llm.transport import Transport
from lion.prompting import protocol
from lion.prompting.protocol import Failure, Usage

_TIMES = 2
"""Batches that a request is put into: a third day would say the same as the second."""
_LINES = 500  # settled in one transaction
_PATIENCE = 600.0  # seconds that another process may take to submit

Make = Callable[[bytes], PreparedRequest]


@dataclass(slots=True)
class BatchRunner:
    """The batches of one endpoint and model, of whichever stage.

    Raises EndpointError where the provider refuses, AskError where the ledger cannot be used.
    """

    api: Api
    transport: Transport
    purse: CostEstimator
    ledger: Ledger
    stage: str = ""
    usage: UsageStats = field(default_factory=UsageStats)
    _book: BatchStore = field(init=False)
    _provider: BatchClient = field(init=False)

    def __post_init__(self) -> None:
        """Name the two sides: what we remember, and what the provider has."""
        self._book = BatchStore(self.ledger)
        self._provider = BatchClient(self.transport, self.api)

    async def bring(self, keys: Sequence[bytes], make: Make, distinct: int) -> None:
        """Keep what batches did for `keys`, and submit what is worth another one.

        Returns where none is at work on them: what is still missing is to be asked live. `make`
        gives a key's request; `distinct` is how many the stage asks for in all. Raises
        BatchesPendingError, and BudgetError where nothing more may be asked.
        """
        with alone(self.ledger):
            at_work = await self.fetch()
            known = self.ledger.known(keys)
            missing = [key for key in keys if key not in known]
            awaited = self._book.awaited(missing)
            fresh = self._worth([key for key in missing if key not in awaited], distinct)
            if fresh:
                at_work += await self._submit(fresh, make, at_work)
                if not at_work:
                    raise budget.reached(self.ledger)
        if fresh or awaited:
            raise self._pending(len(fresh) + len(awaited), at_work)

    def _worth(self, left: Sequence[bytes], distinct: int) -> list[bytes]:
        """Return those of `left` that go into a batch: none where so few are not worth a day."""
        tried = self._book.tried(left)
        fresh = [key for key in left if tried[key] < _TIMES]
        enough = len(fresh) >= self.api.batch_least and len(fresh) > self.api.batch_tail * distinct
        return fresh if enough else []

    async def fetch(self) -> list[BatchState]:
        """Keep what every batch of this endpoint brought; return those still at work.

        Raises EndpointError, after all others are kept, where one was refused as a whole.
        """
        refused: list[EndpointError] = []
        at_work: list[BatchState] = []
        for one in self._book.open(self.purse.endpoint):
            state = await self.look(one)
            if not state.has_ended:
                at_work.append(state)
            elif state.status == "failed":
                refused += self._undo(one, state)
            else:
                await self._keep(one, state)
        if refused:
            raise refused[0]
        return at_work

    async def look(self, one: Submission) -> BatchState:
        """Return a batch's state; one that a crash left unmade, or hid, is made or found first."""
        if one.batch is None:
            return await self._create(one, look_first=True)
        state = await self._provider.state(one.batch)
        if state.status != one.status:
            self._book.note(one.token, status=state.status, file=one.file, batch=one.batch)
        return state

    async def _create(self, one: Submission, *, look_first: bool) -> BatchState:
        file = one.file
        if file is None:  # a file whose name a crash hid stays unused: the provider drops it
            file = await self._provider.upload(f"lion-{one.token}", self._book.requests(one.token))
            self._book.note(one.token, status=PREPARED, file=file, batch=None)
        state = await self._provider.create(one.token, file, look_first=look_first)
        self._book.note(one.token, status=state.status, file=file, batch=state.batch)
        return state

    async def _submit(
        self, keys: list[bytes], make: Make, at_work: list[BatchState]
    ) -> list[BatchState]:
        """Submit what the budget and the provider's queue allow, in files of the allowed size.

        A queue that was full lately takes half as much as it refused, one batch at a time.
        """
        refused = self._book.queue_refused(self.purse.endpoint, batch_client.QUEUE_FULL)
        if refused is not None and at_work:
            return []
        most = batch_client.MOST_REQUESTS if refused is None else max(1, refused // 2)
        made: list[BatchState] = []
        for piece in _pieces((make(key) for key in keys), most):
            count = self._prepare(piece)
            made += [
                await self._create(one, look_first=False)
                for one in self._book.open(self.purse.endpoint)
                if one.status == PREPARED
            ]
            if count < len(piece) or refused is not None:
                break
        return made

    def _prepare(self, piece: Sequence[PreparedRequest]) -> int:
        spend = self.purse
        most = [spend.most(item.body) for item in piece] if spend.is_capped else None
        return self._book.prepare(spend.endpoint, self.stage, piece, most, spend.cap)

    def _undo(self, one: Submission, state: BatchState) -> list[EndpointError]:
        """Take back a batch that failed as a whole; a full queue is no error, but a wait."""
        code, told = state.errors[0] if state.errors else ("unknown", "no reason is told.")
        words = self.transport.without_key(told)
        self._book.undo(one.token, f"{code}: {words}")
        if code == batch_client.QUEUE_FULL:
            console.say(f"{self.transport.who}: the queue for batches was full: {words}")
            return []
        return [
            EndpointError(
                f"{self.transport.who}: batch {state.batch} of {one.requests:,} requests failed "
                f"before it began: {code}: {words} Nothing of it is billed. Mend the cause and "
                "run again, or set api.mode of this role to live."
            )
        ]

    async def _keep(self, one: Submission, state: BatchState) -> None:
        """Keep every reply and every failure of a batch that has ended."""
        path = self.ledger.path.with_name(f"batch-{one.token}.jsonl")
        try:
            for file in state.files:
                await self._provider.download(file, path)
                with path.open("rb") as lines:
                    while chunk := list(islice(lines, _LINES)):
                        read = (batch_client.read_line(raw) for raw in chunk)
                        self._settle(one, [line for line in read if line is not None])
        finally:
            path.unlink(missing_ok=True)
        silent = Failure(f"batch_{state.status}", "the batch ended without a line for it")
        rest = [BatchLine(key, None, silent) for key in self._book.sent(one.token)]
        for start in range(0, len(rest), _LINES):
            self._settle(one, rest[start : start + _LINES])
        self._book.close(one.token, state.status)

    def _settle(self, one: Submission, lines: Sequence[BatchLine]) -> None:
        """Keep a few lines; those not ours, or settled before a crash, are passed over."""
        unsettled = self._book.unsettled(one.token, [line.key for line in lines])
        entries = []
        for line in lines:
            if line.key in unsettled:
                item, reservation = unsettled.pop(line.key)
                entries.append(self._entry(one, item, reservation, line))
        self._book.settle(one.token, entries)
        for entry in entries:
            self._count(entry)

    def _entry(
        self, one: Submission, item: PreparedRequest, reservation: int | None, line: BatchLine
    ) -> Entry | FailedCall:
        if line.reply is None:  # the provider bills replies alone
            failure = line.failure or Failure("batch_unread", "")
            detail = self.transport.without_key(failure.detail)
            return FailedCall(item.key, failure.reason, detail, _call(one, None, 0, reservation))
        usage, outcome = protocol.usage(line.reply), protocol.parse(line.reply)
        charged, cost = self.purse.of_reply(item.body, usage)
        call = _call(one, charged, cost, reservation)
        if isinstance(outcome, Failure) and not protocol.is_final(outcome):
            return FailedCall(item.key, outcome.reason, outcome.detail, call)
        return Entry(item.key, item.body, item.sample, line.reply, call)

    def _count(self, entry: Entry | FailedCall) -> None:
        """Count a call; its seconds are a queue's, and would spoil the latencies."""
        self.usage.calls += 1
        self.usage.nanodollars += entry.call.nanodollars or 0
        self.usage.unpriced += entry.call.nanodollars is None
        if isinstance(entry, FailedCall):
            self.usage.wasted += 1
            self.usage.billed += entry.call.nanodollars != 0

    def _pending(self, waiting: int, at_work: Sequence[BatchState]) -> BatchesPendingError:
        done = sum(state.done + state.failed for state in at_work)
        total = sum(state.total for state in at_work)
        ends = [state.expires_at for state in at_work if state.expires_at]
        until = f"{datetime.fromtimestamp(max(ends), UTC):%Y-%m-%d %H:%M} UTC" if ends else "a day"
        told = {1: "1 batch is"}.get(len(at_work), f"{len(at_work)} batches are")
        return BatchesPendingError(
            f"{waiting:,} requests wait for batches of {self.transport.who}: {told} at work, "
            f"{done:,} of {total:,} done. Run `dvc repro` again after {until}, or as soon as "
            "`lion batch` shows that all is done; nothing has to run until then."
        )


@contextmanager
def alone(ledger: Ledger) -> Iterator[None]:
    """Let one process at a time submit and fetch, or two would make a batch of one file.

    Raises BusyError. Nobody holds the lock while a batch is at work.
    """
    path = ledger.path.with_name("batches.lock")
    try:
        with FileLock(path, timeout=_PATIENCE):
            yield
    except Timeout as error:
        raise BusyError(
            f"another process has been submitting or fetching batches for {_PATIENCE:.0f} s. Wait "
            f"for it or end it; the lock is {path}."
        ) from error


def _call(one: Submission, usage: Usage | None, cost: int | None, reservation: int | None) -> Call:
    prompt, completion = (usage.prompt, usage.completion) if usage else (None, None)
    who = (one.endpoint, one.model, one.stage)
    return Call(*who, prompt, completion, cost, reservation=reservation)


def _pieces(items: Iterator[PreparedRequest], most: int) -> Iterator[list[PreparedRequest]]:
    """Yield `items` in lists that fit a file each."""
    piece: list[PreparedRequest] = []
    size = 0
    for item in items:
        line = len(item.body) + batch_client.FRAME
        if piece and (len(piece) >= most or size + line > batch_client.MOST_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(item)
        size += line
    if piece:
        yield piece
