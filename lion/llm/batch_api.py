"""Asking in batches: submit, leave, come back, keep what was done, and say what is left.

A batch takes up to a day, so nothing waits for one: a run submits and ends with
BatchesPendingError; a later one keeps what came back in the same ledger, under the same keys, as if
it had been asked live. What is left over, and too little to wait another day for, is asked live.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

from filelock import FileLock, Timeout

from lion import console
from lion.config.settings import Api
from lion.errors import BatchesPendingError, BusyError, EndpointError
from lion.llm import batch_client
from lion.llm.account_troubles import is_account_trouble
from lion.llm.batch_client import BatchClient, BatchLine, BatchState
from lion.llm.batch_store import PREPARED, BatchStore, Submission
from lion.llm.budget import Charge, CostEstimator, budget_reached
from lion.llm.calls import Call, Entry, FailedCall
from lion.llm.ledger import Ledger
from lion.llm.request_set import PreparedRequest
from lion.llm.transport import Transport
from lion.llm.usage import UsageStats
from lion.locks import held_by, waiting_for
from lion.prompting import protocol
from lion.prompting.protocol import Failure

_TIMES = 2
"""Batches that a request is put into: a third day would say the same as the second."""
_LINES = 500  # settled in one transaction
_PATIENCE = 600.0  # seconds that another process may take to submit, or for calls in flight
_POLL = 0.2  # seconds until calls in flight are looked at again

BuildRequest = Callable[[bytes], PreparedRequest]


@dataclass(slots=True)
class BatchRunner:
    """The batches of one endpoint and model, of all stages.

    Raises EndpointError where the provider refuses, AskError where the ledger cannot be used.
    """

    api: Api
    transport: Transport
    estimator: CostEstimator
    ledger: Ledger
    stage: str = ""
    usage: UsageStats = field(default_factory=UsageStats)
    _store: BatchStore = field(init=False)
    _client: BatchClient = field(init=False)

    def __post_init__(self) -> None:
        """Open both sides: the batches that we store, and those of the provider."""
        self._store = BatchStore(self.ledger)
        self._client = BatchClient(self.transport, self.api)

    async def complete(self, keys: Sequence[bytes], build: BuildRequest, distinct: int) -> None:
        """Keep what batches did for `keys`, and submit what is worth another batch.

        Returns where none is at work on them: what is still missing is to be asked live. `build`
        returns a key's request; `distinct` is the count that the stage asks for. Raises
        BatchesPendingError, BudgetError where nothing more may be asked, and BusyError where other
        processes hold what is left of the budget.
        """
        with batches_lock(self.ledger):
            at_work = await self.fetch()
            stored = self.ledger.stored_keys(keys)
            missing = [key for key in keys if key not in stored]
            awaited = self._store.awaited(missing)
            fresh = self._worth([key for key in missing if key not in awaited], distinct)
            if fresh:
                at_work += await self._submit(fresh, build, at_work)
                if not at_work:
                    raise budget_reached(self.ledger)
        if fresh or awaited:
            raise self._pending(len(fresh) + len(awaited), at_work)

    def _worth(self, left: Sequence[bytes], distinct: int) -> list[bytes]:
        """Return those of `left` that go into a batch: none where so few are not worth a day."""
        tried = self._store.tried(left)
        fresh = [key for key in left if tried[key] < _TIMES]
        enough = len(fresh) >= self.api.batch_least and len(fresh) > self.api.batch_tail * distinct
        return fresh if enough else []

    async def fetch(self) -> list[BatchState]:
        """Keep what every batch of this endpoint brought; return those still at work.

        Raises EndpointError, after all others are kept, where a batch was refused as a whole, or
        the account can pay for nothing more.
        """
        refused: list[EndpointError] = []
        at_work: list[BatchState] = []
        for submission in self._store.open(self.estimator.endpoint):
            state = await self.update(submission)
            if not state.has_ended:
                at_work.append(state)
            elif state.status == "failed":
                refused += self._undo(submission, state)
            else:
                refused += await self._keep(submission, state)
        if refused:
            raise refused[0]
        return at_work

    async def update(self, submission: Submission) -> BatchState:
        """Return a batch's state; where a crash hid the batch, it is looked for, or created."""
        if submission.batch is None:
            return await self._create(submission, look_first=True)
        state = await self._client.state(submission.batch)
        if state.status != submission.status:
            file, batch = submission.file, submission.batch
            self._store.note(submission.token, status=state.status, file=file, batch=batch)
        return state

    async def _create(self, submission: Submission, *, look_first: bool) -> BatchState:
        file, token = submission.file, submission.token
        if file is None:  # a file whose name a crash hid stays unused: the provider drops it
            file = await self._client.upload(f"lion-{token}", self._store.requests(token))
            self._store.note(token, status=PREPARED, file=file, batch=None)
        state = await self._client.create(token, file, look_first=look_first)
        self._store.note(token, status=state.status, file=file, batch=state.batch)
        return state

    async def _submit(
        self, keys: list[bytes], build: BuildRequest, at_work: list[BatchState]
    ) -> list[BatchState]:
        """Submit what the budget and the provider's queue allow, in files of the allowed size.

        A queue that was full lately takes half as much as it refused, one batch at a time.
        """
        refused = self._store.queue_refused(self.estimator.endpoint, batch_client.QUEUE_FULL)
        if refused is not None and at_work:
            return []
        most = batch_client.MOST_REQUESTS if refused is None else max(1, refused // 2)
        created: list[BatchState] = []
        for piece in _pieces((build(key) for key in keys), most):
            count = await self._prepare(piece)
            created += [
                await self._create(submission, look_first=False)
                for submission in self._store.open(self.estimator.endpoint)
                if submission.status == PREPARED
            ]
            if count < len(piece) or refused is not None:
                break
        return created

    async def _prepare(self, piece: Sequence[PreparedRequest]) -> int:
        """Write down what the budget allows; wait for calls in flight. Raises BusyError."""
        estimator, bounds = self.estimator, None
        if estimator.is_capped:
            bounds = [estimator.upper_bound(item.body) for item in piece]
        deadline, announced = time.monotonic() + _PATIENCE, False
        while True:
            try:
                return self._store.prepare(
                    estimator.endpoint, self.stage, piece, bounds, estimator.cap
                )
            except BusyError as error:
                if time.monotonic() > deadline:
                    raise
                if not announced:
                    console.say(f"waiting, {_PATIENCE:.0f} s at most: {error}")
                    announced = True
            await asyncio.sleep(_POLL)

    def _undo(self, submission: Submission, state: BatchState) -> list[EndpointError]:
        """Take back a batch that failed as a whole; a full queue is no error, but a wait."""
        code, message = state.errors[0] if state.errors else ("unknown", "no reason is given.")
        words = self.transport.without_key(message)
        self._store.undo(submission.token, f"{code}: {words}")
        if is_account_trouble(400, words, frozenset({code})):
            return [self.transport.exhausted(Failure(code, words))]
        if code == batch_client.QUEUE_FULL:
            console.say(f"{self.transport.who}: the queue for batches was full: {words}")
            return []
        return [
            EndpointError(
                f"{self.transport.who}: batch {state.batch} of {submission.requests:,} requests "
                f"failed before it began: {code}: {words} Nothing of it is billed. Fix the cause "
                "and run again, or set api.mode of this role to live."
            )
        ]

    async def _keep(self, submission: Submission, state: BatchState) -> list[EndpointError]:
        """Keep every reply and every failure of a batch that has ended.

        Returns the error of an account that can pay for nothing more, where a line says so.
        """
        token = submission.token
        path = self.ledger.path.with_name(f"batch-{token}.jsonl")
        refused: list[Failure] = []
        try:
            for file in state.files:
                await self._client.download(file, path)
                with path.open("rb") as lines:
                    while chunk := list(islice(lines, _LINES)):
                        rows = [batch_client.read_line(raw) for raw in chunk]
                        refused += self._settle(submission, list(filter(None, rows)))
        finally:
            path.unlink(missing_ok=True)
        silent = Failure(f"batch_{state.status}", "the batch ended without a line for it")
        unanswered = [BatchLine(key, None, silent) for key in self._store.sent(token)]
        for start in range(0, len(unanswered), _LINES):
            self._settle(submission, unanswered[start : start + _LINES])
        self._store.close(token, state.status)
        return [self.transport.exhausted(failure) for failure in refused[:1]]

    def _settle(self, submission: Submission, lines: Sequence[BatchLine]) -> list[Failure]:
        """Keep a few lines; those not ours, or settled before a crash, are passed over.

        Returns the failures of an account that can pay for nothing more: these requests were not
        tried, and go into a batch again.
        """
        token = submission.token
        unsettled = self._store.unsettled(token, [line.key for line in lines])
        entries = []
        for line in lines:
            if line.key in unsettled:
                item, reservation = unsettled.pop(line.key)
                entries.append(self._entry(submission, item, reservation, line))
        untried = {line.key for line in lines if line.of_account}
        self._store.settle(token, entries, untried)
        for entry in entries:
            self._count(entry)
        return [
            Failure(entry.reason, entry.detail)
            for entry in entries
            if isinstance(entry, FailedCall) and entry.key in untried
        ]

    def _entry(
        self,
        submission: Submission,
        item: PreparedRequest,
        reservation: int | None,
        line: BatchLine,
    ) -> Entry | FailedCall:
        if line.reply is None:  # the provider bills replies alone
            failure = line.failure or Failure("batch_unread", "")
            detail = self.transport.without_key(failure.detail)
            call = _call(submission, Charge(None, 0), reservation)
            return FailedCall(item.key, failure.reason, detail, call)
        usage, outcome = protocol.usage(line.reply), protocol.parse(line.reply)
        charge = self.estimator.charge_reply(item.body, usage, None, self._largest_ratio)
        call = _call(submission, charge, reservation)
        if isinstance(outcome, Failure) and not protocol.is_final(outcome):
            return FailedCall(item.key, outcome.reason, outcome.detail, call)
        return Entry(item.key, item.body, item.sample, line.reply, call)

    def _largest_ratio(self) -> float:
        endpoint = self.estimator.endpoint
        return self.ledger.largest_ratio(endpoint.base_url, endpoint.model)

    def _count(self, entry: Entry | FailedCall) -> None:
        """Count a call, without its seconds: a batch waits in a queue."""
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
        batches = {1: "1 batch is"}.get(len(at_work), f"{len(at_work)} batches are")
        return BatchesPendingError(
            f"{waiting:,} requests wait for batches of {self.transport.who}: {batches} at work, "
            f"{done:,} of {total:,} done. Run `dvc repro` again after {until}, or as soon as "
            "`lion batch` shows that all is done; nothing has to run until then."
        )


@contextmanager
def batches_lock(ledger: Ledger) -> Iterator[None]:
    """Let one process at a time submit and fetch, or two would create a batch of the same file.

    Raises BusyError. The lock is free while a batch is at work.
    """
    path = ledger.path.with_name("batches.lock")
    lock = FileLock(path, timeout=_PATIENCE)
    advice = "It submits or fetches batches: wait for it, or end it if it hangs"
    try:
        with waiting_for("the lock of the batches", advice, path):
            lock.acquire()
    except Timeout as error:
        raise BusyError(
            f"another process has been submitting or fetching batches for {_PATIENCE:.0f} s"
            f"{held_by(path)}. Wait for it or end it; the lock is {path}."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _call(submission: Submission, charge: Charge, reservation: int | None) -> Call:
    usage = charge.usage
    prompt, completion = (usage.prompt, usage.completion) if usage else (None, None)
    who = (submission.endpoint, submission.model, submission.stage)
    ratio = charge.ratio or 0.0
    return Call(*who, prompt, completion, charge.nanodollars, 0.0, reservation, ratio)


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
