"""What a call can cost and has cost, and the budget before it. Prices are `pricing`'s."""

from dataclasses import dataclass

from lion.config.settings import EMBEDDED, Endpoint
from lion.errors import BudgetError
from lion.llm.ledger import Amount, Cap, Ledger
from lion.llm.prices import Prices
from lion.prompting import protocol
from lion.prompting.protocol import Usage


@dataclass(frozen=True, slots=True)
class Purse:
    """The money of one asker: its endpoint's prices under the project's cap.

    `batch` where calls are made in batches, for which there may be a price of its own.
    """

    endpoint: Endpoint
    prices: Prices
    cap: Cap
    batch: bool = False

    @property
    def is_capped(self) -> bool:
        """Whether anything has to be set aside before a call."""
        return self.cap != Cap()

    def most(self, body: bytes) -> Amount:
        """Return the most that a call can use: a token is a byte at least.

        Raises BudgetError where that is unknown and a cap depends on it.
        """
        who = f"{self.endpoint.model} at {self.endpoint.base_url}"
        completion = protocol.completion_cap(self.endpoint)
        if completion is None:
            if self.cap.tokens is None and self.cap.nanodollars is None:
                return Amount(1)
            raise BudgetError(
                f"budget: {who} has no cap on what it writes, so the most that a call can cost is "
                "unknown. Set max_completion_tokens or max_tokens in `request`."
            )
        cost = self.prices.cost(self.endpoint, Usage(len(body), completion), batch=self.batch)
        if cost is None and self.cap.nanodollars is not None:
            raise BudgetError(
                f"budget.usd: the price of {who} is unknown. Write it into prices.yaml, or cap "
                "tokens or calls instead."
            )
        return Amount(1, len(body) + completion, cost or 0)

    def spent(self, usage: Usage | None) -> int | None:
        """Return what a reply cost in nanodollars, or None where that cannot be told."""
        return self.prices.cost(self.endpoint, usage, batch=self.batch)

    def lost(self, body: bytes, *, billable: bool) -> tuple[Usage | None, int | None]:
        """Return tokens and nanodollars of a call that failed: the most it can have cost.

        Nothing where the server did not work for it; None where nobody knows.
        """
        if not billable or self.endpoint.base_url == EMBEDDED:
            return None, 0
        if not self.is_capped:
            return None, None
        most = self.most(body)
        return (Usage(most.tokens, 0) if most.tokens else None), most.nanodollars or None


def reached(ledger: Ledger) -> BudgetError:
    """Return the error that says what was spent and how to go on."""
    spent, reserved = ledger.spent()
    return BudgetError(
        f"the budget is reached: {spent.calls:,} calls, {spent.tokens:,} tokens and "
        f"{spent.nanodollars / 1e9:.2f} dollars are spent, {reserved.calls:,} calls are in "
        "flight or were interrupted. Everything paid for is kept: raise `budget` in "
        "params.yaml and run again to go on."
    )
