"""`lion plan --rows --student`: what the loop of params.yaml would take at another size.

Calls, tokens and money are those of `planning`, with generation grown in proportion to the base
pool. Hours of GPU follow from the constants below, of which none was measured by us on such
hardware; seconds of novelty from what was measured on one core of a laptop's kind.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from lion.asking.pricing import Prices
from lion.model import disk
from lion.settings import Settings
from lion.views import planning

# NVIDIA's data sheet of the H100 SXM: bf16, dense
PEAK = 989e12  # FLOP/s
# assumed, not measured: the shares of it that tuning and answering reach
TUNING, ANSWERING = 0.40, 0.10
_TUNED, _RECOMPUTED, _ANSWERED = 6, 8, 2  # FLOPs a weight and token (Kaplan et al. 2020, 2.1)
_BYTES_A_WEIGHT: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
_CANDIDATE = 3.8e-3 / 52_000  # seconds a candidate and pool row, one core: bench/novelty.py
_ROW = 2_000  # bytes of a row in the pools; each is in the workspace and in DVC's cache


@dataclass(frozen=True, slots=True)
class Reach:
    """What a loop takes. Seconds: of the API at params' limits, of one GPU, of one core.

    `nanodollars` is None where a price is not known. `pools` and `students` are bytes.
    """

    rows: int
    parameters: int
    calls: int
    tokens: int
    nanodollars: int | None
    asking: float
    tuning: float
    answering: float
    novelty: float
    pools: int
    students: int
    states: int


def reach(settings: Settings, rows: int, parameters: int, prices: Prices) -> Reach:
    """Return what the loop takes with a base pool of `rows` and a student of `parameters`."""
    grown = _grown(settings, rows)
    needs = planning.imagined(grown, rows, prices)
    prices_known = all(need.nanodollars is not None for need in needs)
    before, new = _pools(grown, rows)
    each = _tokens_a_row(needs)
    weights = parameters * _BYTES_A_WEIGHT[grown.student.dtype]
    room = disk.room(grown, weights)
    return Reach(
        rows=rows,
        parameters=parameters,
        calls=sum(need.calls for need in needs),
        tokens=sum(need.prompt_tokens + need.completion_tokens for need in needs),
        nanodollars=sum(need.nanodollars or 0 for need in needs) if prices_known else None,
        asking=sum(need.seconds for need in needs),
        tuning=_tuning(grown, parameters, each, rows, new),
        answering=_answering(grown, parameters, before),
        novelty=sum(count * pool * _CANDIDATE for count, pool in zip(new, before, strict=True)),
        pools=2
        * _ROW
        * (rows + sum(pool + count for pool, count in zip(before, new, strict=True))),
        students=room.students,
        states=room.states,
    )


def _grown(settings: Settings, rows: int) -> Settings:
    """Return params whose generation is to the base pool as it was."""
    factor = rows / settings.seed.size
    generate = settings.generate
    more = {"hard": round(generate.hard * factor), "easy": round(generate.easy * factor)}
    return settings.model_copy(update={"generate": generate.model_copy(update=more)})


def _pools(settings: Settings, rows: int) -> tuple[list[int], list[int]]:
    """Return the rows of the Cache Pool before each iteration, and the new ones in it."""
    pools, before, new = {"0": rows}, [], []
    for name in sorted(settings.iterations, key=settings.depth):
        generate = settings.generate_at(name)
        before.append(pools[settings.iterations[name].previous])
        new.append(generate.hard + generate.easy)
        pools[name] = before[-1] + new[-1]
    return before, new


def _tokens_a_row(needs: list[planning.Need]) -> float:
    """Return prompt and answer of one instruction, as the plan has them of the teacher."""
    taught = [need for need in needs if need.stage.startswith("teach@")]
    tokens = sum(need.prompt_tokens + need.completion_tokens for need in taught)
    return tokens / max(1, sum(need.calls for need in taught))


def _tuning(settings: Settings, parameters: int, each: float, rows: int, new: list[int]) -> float:
    """Return GPU seconds: FLOPs a weight and token, over what tuning reaches of the peak."""
    total = 0.0
    names = ["0", *sorted(settings.iterations, key=settings.depth)]
    for name, fresh in zip(names, [rows, *new], strict=True):
        tune = settings.tune_at(name)
        drawn = fresh * (1 + (tune.replay if name != "0" else 0))
        if tune.steps is not None:
            seen = tune.steps * tune.batch_size * each
        else:
            seen = drawn * (tune.epochs or 1) * each
        flops = _RECOMPUTED if tune.gradient_checkpointing else _TUNED
        total += flops * parameters * seen / (PEAK * TUNING)
    return total


def _answering(settings: Settings, parameters: int, before: list[int]) -> float:
    """Return GPU seconds in which the students answer: half of the token cap an answer."""
    limit = settings.respond.limit
    asked = sum(pool if limit is None else min(limit, pool) for pool in before)
    tokens = asked * settings.answering.max_tokens / 2
    return _ANSWERED * parameters * tokens / (PEAK * ANSWERING)


def as_rows(found: Reach) -> list[tuple[str, str]]:
    """Return the figures in words, for a terminal or a page."""
    money = None if found.nanodollars is None else found.nanodollars / 1e9
    return [
        ("calls", f"{found.calls:,}"),
        ("tokens, million", f"{found.tokens / 1e6:,.0f}"),
        ("dollars", "unknown" if money is None else f"{money:,.0f}"),
        ("hours of asking", _hours(found.asking)),
        ("GPU hours of tuning", _hours(found.tuning)),
        ("GPU hours of answering", _hours(found.answering)),
        ("core hours of novelty", _hours(found.novelty)),
        ("GB of pools", f"{found.pools / 1e9:,.1f}"),
        ("GB of students", f"{found.students / 1e9:,.0f}"),
        ("GB of training states", f"{found.states / 1e9:,.0f}"),
    ]


def as_json(found: Reach) -> dict[str, int | float | None]:
    """Return the figures as they are."""
    return asdict(found)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f}"
