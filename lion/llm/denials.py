"""Requests refused as forbidden or not found: for the row, or for the key or the model.

The status does not tell. A request that this endpoint answered before does: it is sent once more,
as one paid call. Where it is answered, the rows are at fault, as in moderation; where it is denied,
the run stops and no row is dropped.
"""

import asyncio
from dataclasses import dataclass, field

from lion.config.settings import Endpoint
from lion.llm.ledger import Ledger
from lion.llm.request_batch import RequestBatch
from lion.llm.request_runner import RequestRunner
from lion.llm.request_set import PreparedRequest
from lion.llm.transport import Transport
from lion.prompting import protocol
from lion.prompting.protocol import Failure, Outcome

DENIED = ("http_403", "http_404")
_IN_A_ROW = 8  # denials since the last reply, after which a known request is asked again
_MAY_BE_ALONE = " If the server refuses this request alone, run again: the next run drops its row."


@dataclass(slots=True)
class DenialCheck:
    """Decides, for one client, whether denials concern rows or all that is asked."""

    endpoint: Endpoint
    ledger: Ledger
    transport: Transport
    runner: RequestRunner
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def record(self, request: PreparedRequest, outcome: Outcome, batch: RequestBatch) -> None:
        """Note an outcome; stop the batch where a denial concerns all that is asked."""
        if not isinstance(outcome, Failure):
            batch.answered = True
            batch.last_denial = None
            batch.consecutive_denials = 0
        elif outcome.reason in DENIED:
            batch.last_denial = outcome
            batch.consecutive_denials += 1
            if not batch.answered or batch.consecutive_denials >= _IN_A_ROW:
                await self._decide(request, batch)

    async def conclude(self, batch: RequestBatch) -> None:
        """Decide on the last denials of a run, which no reply followed."""
        await self._decide(None, batch)

    async def _decide(self, request: PreparedRequest | None, batch: RequestBatch) -> None:
        """Ask a known request again; without one, a request is at fault where it was before."""
        async with self._turn:
            denial = batch.last_denial
            if denial is None or batch.is_stopping:  # decided meanwhile
                return
            address, model = self.endpoint.base_url, self.endpoint.model
            answered = self.ledger.answered_request(address, model)
            if answered is not None:
                outcome = await self.runner.run(PreparedRequest(*answered), batch)
                if outcome is not None and protocol.is_final(outcome):
                    batch.answered = True
                    batch.last_denial = None
                    batch.consecutive_denials = 0
                    return
            elif request is not None and self._was_denied_before(request, denial, batch):
                if batch.consecutive_denials == 1:  # of several the key may be the reason
                    batch.last_denial = None
                return
            batch.stop(self.transport.misconfigured(denial, "" if answered else _MAY_BE_ALONE))

    def _was_denied_before(
        self, request: PreparedRequest, denial: Failure, batch: RequestBatch
    ) -> bool:
        """Return whether an earlier run was denied the same request, and few others in this one."""
        few = batch.consecutive_denials < _IN_A_ROW
        return few and self.ledger.has_failed(request.key, denial.reason, 2)
