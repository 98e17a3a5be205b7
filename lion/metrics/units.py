"""What all metrics have in common: the unit in each field's name, and the values it may have.

`_share` is 0 to 1, `_percent` of a hundred, `_points` of the referee's scale from 1 to 10.
Estimates with their intervals, and what was asked in a role, are the same in every file.
"""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any, ClassVar, Protocol, Self

import msgspec

from lion.errors import DataError

_ROUNDING = 1e-9
UNITS: Mapping[str, tuple[float, float]] = {
    "_share": (0, 1),
    "_share_difference": (-1, 1),
    "_percent": (0, 1000),
    "_points": (-10, 10),
    "_points_sum": (-inf, inf),
    "_correlation": (-1, 1),
    "_nats": (0, inf),
    "_weights": (-inf, inf),
    "seconds": (0, inf),
    "bytes": (0, inf),
    "tokens": (0, inf),
    "nanodollars": (0, inf),
}
"""The ends of names that carry a unit, and the values that it may have. What else is a number is a
count."""

_NARROWER: Mapping[str, tuple[float, float]] = {
    "quality_percent": (10, 1000),  # 1 of 10 points at least, 10 of 1 at most
    "chance_percent": (100 / 26, 100),  # options are letters
    "tau_points": (-inf, inf),  # params may ask for a gap that no scores reach
}


class Metrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all structs; a field without a value where it has a default is left out of the file.

    `FILE` is the file's name under metrics/k/, without its end, where it has one. `EMPTY` names
    fields that are `{}` in the file where they are None; `NEXT` is what to do about a file that
    cannot be read. Raises DataError where a value is none of its unit: a per cent in the place of a
    share, or a NaN.
    """

    FILE: ClassVar[str]
    EMPTY: ClassVar[tuple[str, ...]] = ()
    NEXT: ClassVar[str] = (
        "Another version of Lion wrote it, or it was edited. `dvc repro` writes it again, with "
        "`--force` and the stage's name where DVC takes the stage to be up to date; replies come "
        "from the ledger. One of an older revision is read by the version that wrote it."
    )

    def __post_init__(self) -> None:
        """Check every number against the unit in its field's name."""
        for name in self.__struct_fields__:
            low, high = limits(name)
            for number in _numbers(getattr(self, name)):
                if not low - _ROUNDING <= number <= high + _ROUNDING:
                    raise DataError(
                        f"{type(self).__name__}.{name}: {low:g} to {high:g} is expected, "
                        f"found {number!r}"
                    )

    @property
    def used(self) -> "dict[str, RoleUsage]":
        """What was asked, by role; a role that was asked nothing is left out."""
        parts = {name: getattr(self, name) for name in self.__struct_fields__}
        usages = {
            name: part.asked if isinstance(part, Embedded) else part for name, part in parts.items()
        }
        return {name: part for name, part in usages.items() if isinstance(part, RoleUsage)}


def limits(name: str) -> tuple[float, float]:
    """Return the least and the largest value of a field of that name."""
    if name in _NARROWER:
        return _NARROWER[name]
    return next((UNITS[unit] for unit in UNITS if name.endswith(unit)), (0, inf))


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, dict):
        yield from (number for part in value.values() for number in _numbers(part))
    elif isinstance(value, tuple):
        yield from (number for part in value for number in _numbers(part))


class Measured(Protocol):
    """A value, the bounds of its interval (None: too few rows for one), and the rows behind it."""

    @property
    def value(self) -> float:
        """The value."""
        ...

    @property
    def low(self) -> float | None:
        """The lower bound."""
        ...

    @property
    def high(self) -> float | None:
        """The upper bound."""
        ...

    @property
    def count(self) -> int:
        """The number of rows."""
        ...


class IntervalMetrics(Metrics, frozen=True):
    """The bounds of a figure, lower first, in the unit that their names carry.

    None where the rows are too few for an interval.
    """

    @classmethod
    def of(cls, estimate: Measured | None) -> Self | None:
        """Return the interval of an estimate in this unit; None where nothing was measured."""
        if estimate is None:
            return None
        return cls(**dict(zip(cls.__struct_fields__, (estimate.low, estimate.high), strict=True)))

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Both bounds; None where there is no interval."""
        low, high = (getattr(self, name) for name in self.__struct_fields__)
        return None if low is None or high is None else (low, high)


class ShareInterval(IntervalMetrics, frozen=True):
    """Of a share."""

    low_share: float | None
    high_share: float | None


class PercentInterval(IntervalMetrics, frozen=True):
    """Of a figure in per cent."""

    low_percent: float | None
    high_percent: float | None


class DifferenceInterval(IntervalMetrics, frozen=True):
    """Of the difference of two shares."""

    low_share_difference: float | None
    high_share_difference: float | None


class EstimateMetrics(Metrics, frozen=True):
    """A figure, the bounds of its interval, and the `count` of rows behind it."""

    @classmethod
    def of(cls, estimate: Measured | None) -> Self | None:
        """Return the estimate in this unit; None where there was nothing to measure."""
        if estimate is None:
            return None
        values = (estimate.value, estimate.low, estimate.high, estimate.count)
        return cls(**dict(zip(cls.__struct_fields__, values, strict=True)))

    @property
    def figures(self) -> tuple[float, float | None, float | None]:
        """The figure and its bounds, whatever their unit."""
        value, low, high = (getattr(self, name) for name in self.__struct_fields__[:3])
        return value, low, high


class ShareEstimate(EstimateMetrics, frozen=True):
    """A share."""

    value_share: float
    low_share: float | None
    high_share: float | None
    count: int


class PercentEstimate(EstimateMetrics, frozen=True):
    """A figure in per cent."""

    value_percent: float
    low_percent: float | None
    high_percent: float | None
    count: int


class PointsEstimate(EstimateMetrics, frozen=True):
    """Points of the referee's scale."""

    value_points: float
    low_points: float | None
    high_points: float | None
    count: int


class RoleUsage(Metrics, frozen=True):
    """What was asked in a role, as it follows from the inputs; tokens are of the replies used.

    `requests` count duplicates once; `replies_without_usage` came from servers that count none.
    """

    requests: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    replies_without_usage: int

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "RoleUsage") -> "RoleUsage":
        """Return the sum of what was asked in the role, other requests than these."""
        return RoleUsage(
            self.requests + other.requests,
            self.failed + other.failed,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.replies_without_usage + other.replies_without_usage,
        )


class Embedded(Metrics, frozen=True):
    """What the gate of near-duplicates knows and needed.

    `pool` vectors are known, `not_embedded` texts have none. The rest is as in `RoleUsage`, and
    left out where an encoder on this machine embeds.
    """

    pool: int
    not_embedded: int
    requests: int | None = None
    failed: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    replies_without_usage: int | None = None

    @classmethod
    def of(cls, pool: int, not_embedded: int, usage: RoleUsage | None) -> Self:
        """Return both together."""
        parts: dict[str, int] = {} if usage is None else msgspec.structs.asdict(usage)
        return cls(pool=pool, not_embedded=not_embedded, **parts)

    @property
    def asked(self) -> RoleUsage | None:
        """What an endpoint was asked; None where there was none."""
        if self.requests is None:
            return None
        parts = {name: getattr(self, name) or 0 for name in RoleUsage.__struct_fields__}
        return RoleUsage(**parts)


class Funnel(dict[str, int]):
    """What became of candidates, as a file has it: `asked`, each reason to drop one, `kept`.

    A reason that dropped nothing may be left out, and so may a zero.
    """

    @property
    def asked(self) -> int:
        """The candidates in all."""
        return self.get("asked", 0)

    @property
    def kept(self) -> int:
        """Those that were kept."""
        return self.get("kept", 0)

    @property
    def dropped(self) -> dict[str, int]:
        """Those that were not, by reason, in the file's order."""
        return {reason: count for reason, count in self.items() if reason not in ("asked", "kept")}


def decoded(kind: type[Any], value: Any) -> Any:
    """Return a value of a type that msgspec does not know: its hook. Raises ValueError."""
    if kind is not Funnel or not isinstance(value, dict):
        raise ValueError(f"an object of counts is expected, found {value!r:.60}")
    for reason, count in value.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ValueError(f"{reason}: a count is expected, found {count!r:.60}")
    return Funnel(value)
