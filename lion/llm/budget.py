"""The most that a call can cost, and what a reply is charged, under the project's cap.

What is set aside for calls in flight is `reservations`'.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lion.config.settings import EMBEDDED, Endpoint
from lion.errors import BudgetError
from lion.llm.caps import Amount, Cap
from lion.llm.ledger import Ledger
from lion.llm.prices import Prices
from lion.prompting import protocol
from lion.prompting.protocol import Usage

BELIEVED = 20.0
"""How many times the upper bound of a call a server's count is believed: thoughts exceed the cap of
some servers, and a chat template adds to a short prompt."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Tokens and nanodollars of a call, each None where unknown.

    `ratio` is the server's count over the upper bound, the larger of tokens and money; None where
    the count is missing or above `BELIEVED`.
    """

    usage: Usage | None
    nanodollars: int | None
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class CostEstimator:
    """The costs of one client's calls: its endpoint's prices under the project's cap.

    `batch` where calls are made in batches, which may have a price of their own.
    """

    endpoint: Endpoint
    prices: Prices
    cap: Cap
    batch: bool = False

    @property
    def is_capped(self) -> bool:
        """Whether anything has to be reserved before a call."""
        return self.cap != Cap()

    @property
    def caps_amounts(self) -> bool:
        """Whether tokens or money are capped: a call may then be charged its upper bound."""
        amounts = (self.cap.tokens, self.cap.nanodollars)
        return amounts != (None, None) and self.endpoint.base_url != EMBEDDED

    def upper_bound(self, body: bytes) -> Amount:
        """Return the most that a call may use: a token is a byte at least.

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
        cost = self.price(Usage(len(body), completion))
        if cost is None and self.cap.nanodollars is not None:
            raise BudgetError(
                f"budget.usd: the price of {who} is unknown. Write it into prices.yaml, or cap "
                "tokens or calls instead."
            )
        return Amount(1, len(body) + completion, cost or 0)

    def charge_reply(
        self,
        body: bytes,
        usage: Usage | None,
        reserved: Amount | None,
        largest_ratio: Callable[[], float],
    ) -> Charge:
        """Return what a reply is charged, never more than was `reserved` for it.

        A count that is missing, or more than `BELIEVED` times the upper bound, is charged as the
        server's largest count was, `largest_ratio` times the upper bound; else the cap would never
        hold. Where `reserved` is None, as in a batch, every count that is believed is charged.
        """
        cost = self.price(usage)
        if not self.caps_amounts:
            return Charge(usage, cost)
        bound = self.upper_bound(body)
        reserved = reserved or bound.times(BELIEVED)
        tokens = usage.prompt + usage.completion if usage else 0
        ratio = max(_ratio(tokens, bound.tokens), _ratio(cost or 0, bound.nanodollars))
        if usage is None or ratio > BELIEVED:
            left = Cap(tokens=reserved.tokens, nanodollars=reserved.nanodollars)
            return _charged(bound.times(largest_ratio()).at_most(left), None)
        if tokens > reserved.tokens or (cost or 0) > reserved.nanodollars:
            return _charged(reserved, ratio)
        return Charge(usage, cost, ratio)

    def charge_failure(
        self,
        body: bytes,
        reserved: Amount | None,
        largest_ratio: Callable[[], float],
        *,
        billable: bool,
    ) -> Charge:
        """Return what a failed call is charged: as a reply without a count, where it is `billable`.

        Nothing where the server did not work; None where no cap makes a bound known.
        """
        if not billable or self.endpoint.base_url == EMBEDDED:
            return Charge(None, 0)
        if not self.caps_amounts:
            return Charge(None, None)
        return self.charge_reply(body, None, reserved, largest_ratio)

    def price(self, usage: Usage | None) -> int | None:
        """Return the price of a reply in nanodollars, or None where it is unknown."""
        return self.prices.cost(self.endpoint, usage, batch=self.batch)


def _charged(amount: Amount, ratio: float | None) -> Charge:
    return Charge(Usage(amount.tokens, 0), amount.nanodollars or None, ratio)


def _ratio(count: int, bound: int) -> float:
    return count / bound if bound else 0.0


def budget_reached(ledger: Ledger) -> BudgetError:
    """Return the error that says what was spent and how to go on."""
    spent, reserved = ledger.spent()
    return BudgetError(
        f"the budget is reached: {spent.calls:,} calls, {spent.tokens:,} tokens and "
        f"{spent.nanodollars / 1e9:.2f} dollars are spent, {reserved.calls:,} calls are in "
        "flight or were interrupted. Everything paid for is kept: raise `budget` in "
        "params.yaml and run again to go on."
    )
