"""Prices of calls: the package genai-prices, overridden by prices.yaml of the project.

Money is whole nanodollars (1e-9 US dollars), so that sums are exact. An unknown price is None and
never zero; the embedded teacher is free. Sends nothing: prices come with the package's version.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, RootModel, ValidationError

from lion.config import yaml_file
from lion.config.settings import EMBEDDED, Endpoint, Section
from lion.errors import SettingsError
from lion.prompting.protocol import Usage

NANO = 10**9
_MILLION = 10**6
# up to here no provider's price per token depends on the length of the prompt
_UNTIERED = 100_000

Dollars = Annotated[float, Field(ge=0)]


class Price(Section):
    """US dollars per million tokens; `cached` and `reasoning` default to input and output.

    `batch` is the share of the price that the Batch API asks.
    """

    input: Dollars
    output: Dollars
    cached: Dollars | None = None
    reasoning: Dollars | None = None
    batch: Annotated[float, Field(ge=0, le=1)] | None = None


class _Overrides(RootModel[dict[str, Price]]):
    """prices.yaml: a price by model's name."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Nanodollars a token, exact."""

    input: Decimal
    cached: Decimal
    output: Decimal
    reasoning: Decimal

    def cost(self, usage: Usage) -> int:
        """Return nanodollars, rounded up. Cached is part of prompt, reasoning of completion."""
        fresh, visible = usage.prompt - usage.cached, usage.completion - usage.reasoning
        total = (
            fresh * self.input
            + usage.cached * self.cached
            + visible * self.output
            + usage.reasoning * self.reasoning
        )
        return int(total.to_integral_value(ROUND_CEILING))


class Prices:
    """What the models of params.yaml cost."""

    def __init__(self, overrides: Mapping[str, Price]) -> None:
        self._overrides = overrides
        self._rates: dict[tuple[str, str, bool], Rates | None] = {}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read prices.yaml, where there is one. Raises SettingsError."""
        if not path.exists():
            return cls({})
        try:
            document = yaml_file.read_yaml(path) or {}
            return cls(_Overrides.model_validate(document, strict=False).root)
        except (OSError, ValidationError) as error:
            raise SettingsError(
                f"{path}: {' '.join(str(error).split())}. Per model: input and output in dollars "
                "per million tokens, and where you like cached, reasoning, batch."
            ) from error

    def rates(self, endpoint: Endpoint, *, batch: bool = False) -> Rates | None:
        """Return the endpoint's rates, or None where unknown."""
        key = endpoint.base_url, endpoint.model, batch
        if key not in self._rates:
            self._rates[key] = self._look_up(endpoint, batch)
        return self._rates[key]

    def cost(self, endpoint: Endpoint, usage: Usage | None, *, batch: bool = False) -> int | None:
        """Return the price of a reply in nanodollars, or None where it is unknown."""
        if endpoint.base_url == EMBEDDED:
            return 0
        rates = self.rates(endpoint, batch=batch)
        if rates is None or usage is None:
            return None
        if usage.prompt > _UNTIERED and endpoint.model not in self._overrides:
            return _listed_cost(endpoint, usage, batch)
        return rates.cost(usage)

    def _look_up(self, endpoint: Endpoint, batch: bool) -> Rates | None:
        if endpoint.base_url == EMBEDDED:
            zero = Decimal(0)
            return Rates(zero, zero, zero, zero)
        own = self._overrides.get(endpoint.model)
        if own is not None:
            return _own_rates(own, batch)
        sizes = [
            Usage(1000, 0),
            Usage(1000, 0, cached=1000),
            Usage(0, 1000),
            Usage(0, 1000, 0, 1000),
        ]
        costs = [_listed_cost(endpoint, usage, batch) for usage in sizes]
        if None in costs:
            return None
        return Rates(*(Decimal(cost or 0) / 1000 for cost in costs))


def _own_rates(price: Price, batch: bool) -> Rates:
    share = Decimal(str(price.batch)) if batch and price.batch is not None else Decimal(1)
    cached = price.input if price.cached is None else price.cached
    reasoning = price.output if price.reasoning is None else price.reasoning
    dollars = (price.input, cached, price.output, reasoning)
    return Rates(*(Decimal(str(value)) * NANO / _MILLION * share for value in dollars))


def _listed_cost(endpoint: Endpoint, usage: Usage, batch: bool) -> int | None:
    """Return the price of one call by genai-prices, in nanodollars; None where it lists none."""
    import genai_prices  # a large table, which a run on known prices or none does not need

    context: dict[str, Any] = {"price_context": {"processing": "batch"}} if batch else {}
    counted = genai_prices.Usage(
        input_tokens=usage.prompt,
        output_tokens=usage.completion,
        **({"cache_read_tokens": usage.cached} if usage.cached else {}),
    )
    try:
        calculation = genai_prices.calc_price(
            counted, endpoint.model, provider_api_url=endpoint.base_url, **context
        )
    except LookupError:
        return None
    return int((calculation.total_price * NANO).to_integral_value(ROUND_CEILING))
