"""Amounts of calls, tokens and money, and the cap on their sum."""

import math
from dataclasses import dataclass
from decimal import Decimal

from lion.config.settings import Budget


@dataclass(frozen=True, slots=True)
class Amount:
    """Calls, tokens and money together; `unpriced` calls are those whose price is unknown."""

    calls: int = 0
    tokens: int = 0
    nanodollars: int = 0
    unpriced: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        """Return the sums."""
        return Amount(
            self.calls + other.calls,
            self.tokens + other.tokens,
            self.nanodollars + other.nanodollars,
            self.unpriced + other.unpriced,
        )

    def __sub__(self, other: "Amount") -> "Amount":
        """Return the differences."""
        return self + Amount(-other.calls, -other.tokens, -other.nanodollars, -other.unpriced)

    def times(self, factor: float) -> "Amount":
        """Return `factor` times the tokens and the money of the same calls, rounded up."""
        tokens, money = math.ceil(factor * self.tokens), math.ceil(factor * self.nanodollars)
        return Amount(self.calls, tokens, money, self.unpriced)

    def at_most(self, left: "Cap") -> "Amount":
        """Return the smaller of the tokens and the money, each, of this and what is `left`."""
        tokens = self.tokens if left.tokens is None else min(self.tokens, left.tokens)
        money = self.nanodollars
        money = money if left.nanodollars is None else min(money, left.nanodollars)
        return Amount(self.calls, tokens, money, self.unpriced)


@dataclass(frozen=True, slots=True)
class Cap:
    """The most that may be spent in all; None where there is no cap of that kind."""

    calls: int | None = None
    tokens: int | None = None
    nanodollars: int | None = None

    def allows(self, amount: Amount) -> bool:
        """Tell whether `amount` lies within every cap."""
        pairs = (
            (self.calls, amount.calls),
            (self.tokens, amount.tokens),
            (self.nanodollars, amount.nanodollars),
        )
        return all(cap is None or value <= cap for cap, value in pairs)

    def minus(self, used: Amount) -> "Cap":
        """Return what is left of each cap, at least 0."""
        return Cap(
            None if self.calls is None else max(0, self.calls - used.calls),
            None if self.tokens is None else max(0, self.tokens - used.tokens),
            None if self.nanodollars is None else max(0, self.nanodollars - used.nanodollars),
        )


@dataclass(frozen=True, slots=True)
class Demand:
    """What a call asks of the cap: `most`.

    `bound` is what stays set aside where the process is killed: the most that the request allows.
    The margin above it, for servers that count more, lasts as long as the process (see
    `live_reservations`). `alone` has endpoint and model of a call without another one in flight: it
    may use less than `most`, and at least what the largest count there over its bound makes of it.
    """

    bound: Amount
    most: Amount
    alone: tuple[str, str] | None = None

    def within(self, cap: Cap, total: Amount, least: Amount | None) -> Amount | None:
        """Return what `cap` leaves for it beside `total`, or None where that is too little."""
        if cap.allows(total + self.most):
            return self.most
        if least is None or not cap.allows(total + least):
            return None
        return self.most.at_most(cap.minus(total))


@dataclass(frozen=True, slots=True)
class Shortage:
    """Too little is left of the cap; `elsewhere` where that is for other clients alone."""

    elsewhere: bool = False


def budget_cap(budget: Budget) -> Cap:
    """Return a budget of params.yaml as a cap."""
    usd = None if budget.usd is None else int(Decimal(str(budget.usd)) * 10**9)
    return Cap(budget.calls, budget.tokens, usd)
