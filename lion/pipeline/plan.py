"""`lion plan`: the calls, tokens, money and time of the remaining stages. Sends nothing.

Calls are exact as far as the rehearsal gets, and follow from params behind it. Tokens per call are
measured on earlier stages of the role, or estimated from params.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import Literal

from lion.config import project
from lion.config.settings import Baseline, Endpoint, Generate, Mode, Settings
from lion.discrimination.teacher_trial import TRIAL_ROWS
from lion.errors import DataError
from lion.generation.baselines import Spend, spend_of
from lion.llm.prices import Prices
from lion.metrics.files import M
from lion.metrics.judging import ReviewMetrics
from lion.metrics.pools import BootstrapMetrics, GenerateMetrics, TeachMetrics
from lion.metrics.units import RoleUsage
from lion.pipeline import endpoint_pace
from lion.pipeline.endpoint_pace import PaceBasis
from lion.pipeline.row_counts import (
    count_base_rows,
    count_exam_rows,
    count_file_rows,
    count_rows_apart,
)
from lion.pipeline.stale_outputs import StaleOutputs
from lion.prompting import protocol
from lion.prompting.protocol import Usage
from lion.stage_table import STAGES

_BYTES_A_TOKEN = 4
_SHARE_OF_CAP = 0.5
_CAP = 1024  # tokens, where `request` sets none
_WORDS = 60  # tokens of an instruction that is not generated yet
_WORD = 2  # tokens of a reply of one word
_DAY = 86_400.0  # seconds that a batch may take

Basis = Literal["measured", "estimated", "ledger"]
Precision = Literal["exactly", "about", "at_most"]


@dataclass(frozen=True, slots=True)
class Need:
    """What one stage will ask of one role.

    `calls` are still to be paid; `in_ledger` are free. `basis` of the tokens: `measured` on earlier
    stages of the role, `estimated` from params alone, or `ledger` where it has every reply.
    `precision`: how the calls follow from params; `about` if they follow from earlier iterations.
    `seconds` of batches are an upper bound: a day each, one after the other; of live calls, `pace`
    is where they come from.
    """

    stage: str
    role: str
    calls: int
    precision: Precision
    in_ledger: int
    prompt_tokens: int
    completion_tokens: int
    basis: Basis
    nanodollars: int | None
    seconds: float
    mode: Mode = "live"
    pace: PaceBasis = "assumed"


_Asking = tuple[str, str, int]  # stage, role, calls


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Rows of the base pool and of the exam, as they are or as params say.

    `apart` are the exam's rows for the certificate.
    """

    base: int
    exam: int
    apart: int

    @property
    def headline(self) -> int:
        """The other rows of the exam."""
        return self.exam - self.apart


@dataclass(frozen=True, slots=True)
class Exact:
    """The certain calls of a stage to a role: those in the ledger, and those still missing.

    Of a stage that asks in rounds, `missing` are the calls of the first round with a missing reply.
    """

    in_ledger: int
    missing: int


Certain = Mapping[tuple[str, str], Exact]


def plan(settings: Settings, remaining: set[str], certain: Certain, prices: Prices) -> list[Need]:
    """Return the needs of the `remaining` stages (such as `teach@1`), in the order of the loop.

    `certain` holds exact calls by stage and role; the other stages are estimated.
    """
    exam = count_exam_rows(settings)
    sizes = _Sizes(count_base_rows(settings), exam, min(exam, count_rows_apart(settings, exam)))
    loop = list(_expected_calls(settings, sizes))
    return [
        _need(settings, stage, role, calls, certain.get((stage, role)), prices)
        for stage, role, calls in (*loop, *_baseline_calls(settings, loop), *_curve_calls(settings))
        if stage in remaining
    ]


def _filters(settings: Settings, stage: str) -> Generate:
    """Return the section `generate` that a generating stage uses."""
    kind, _, name = stage.partition("@")
    bootstraps = kind == "bootstrap"
    return settings.bootstrap_filters(name) if bootstraps else settings.generate_at(name)


def _endpoint(settings: Settings, stage: str, role: str) -> Endpoint:
    """Return the endpoint that a stage asks in a role; for safety that is the referee."""
    if role == "second":
        assert settings.calibrate.second is not None
        return settings.calibrate.second
    if role == "referee" and stage.startswith(("evaluate@", "certify@")):
        return settings.exam_referee
    if role != "embedder":
        endpoint: Endpoint = settings.referee if role == "safety" else getattr(settings, role)
        return endpoint
    gate = _filters(settings, stage).near_duplicates
    assert gate is not None and gate.endpoint is not None
    return gate.endpoint


def _gates(
    settings: Settings, stage: str, existing: int, candidates: int, new: int
) -> Iterator[_Asking]:
    """Yield the calls of filters for `candidates` that become `new` rows.

    The `existing` rows are embedded, too, unless an earlier stage has done so.
    """
    filters = _filters(settings, stage)
    if filters.near_duplicates is not None and filters.near_duplicates.endpoint is not None:
        yield stage, "embedder", existing + candidates
    if filters.safety:
        yield stage, "safety", new


def _expected_calls(settings: Settings, sizes: _Sizes) -> Iterator[_Asking]:
    """Yield (stage, role, calls) for every stage that asks."""
    for name, entry in settings.bootstrap.items():
        sown = sum(count_file_rows(seeds) for seeds in entry.seeds)
        new = max(0, entry.size - sown)
        candidates = new / _acceptance([name], BootstrapMetrics)
        yield f"bootstrap@{name}", "generator", ceil(candidates / entry.per_call)
        yield from _gates(settings, f"bootstrap@{name}", sown, round(candidates), new)
    trial = min(TRIAL_ROWS, sizes.exam) if settings.exam.teacher_at_least else 0
    taught = trial + (sizes.base if settings.seed.answers == "ask" else 0)
    if taught:
        yield "teach@0", "teacher", taught
    quality = min(settings.evaluate.quality, sizes.headline)
    examined = quality if settings.exam.scorer.kind == "referee" else sizes.exam
    yield "evaluate@0", "teacher", max(0, examined - trial)
    graded = 2 * settings.evaluate.samples * quality
    yield "evaluate@0", "referee", graded
    cache = {project.BASE: sizes.base}
    kept = _acceptance(settings.iterations, GenerateMetrics)
    for name in sorted(settings.iterations, key=settings.depth):
        generate = settings.generate_at(name)
        before = cache[settings.iterations[name].previous]
        new = generate.hard + generate.easy
        cache[name] = before + new
        limit = settings.respond.limit
        judged = before if limit is None else min(limit, before)
        if settings.no_reader(generate) is None:
            yield from _judging(settings, name, judged, before)
        yield from _calibrating(settings, name, judged)
        yield f"generate@{name}", "generator", round(new / kept)
        first = settings.iterations[name].previous == project.BASE
        existing = before if first else 0
        yield from _gates(settings, f"generate@{name}", existing, round(new / kept), new)
        yield f"teach@{name}", "teacher", new
        yield f"evaluate@{name}", "referee", graded
    yield from _certifying(settings, sizes)


def _judging(settings: Settings, name: str, judged: int, before: int) -> Iterator[_Asking]:
    """Yield the calls of review: of the `judged` responses, or of audits of the rows `before`."""
    if settings.review.judge == "referee":
        yield f"review@{name}", "referee", _reviews(settings, judged)
    elif settings.review.judge == "likelihood":
        audited = min(settings.review.audited_rows, before)
        if audited:
            yield f"review@{name}", "referee", 2 * settings.review.samples * audited


def _baseline_calls(settings: Settings, loop: Sequence[_Asking]) -> Iterator[_Asking]:
    """Yield the calls that make the rows of baselines; `loop` are those of the iterations."""
    kept = _acceptance(settings.iterations, GenerateMetrics)
    for name, baseline in settings.baselines.items():
        if baseline.rows == "given":
            continue
        new = _spend(settings, baseline, loop).affordable_rows
        yield f"grow@{name}", "generator", round(new / kept)
        yield from _gates(settings, f"grow@{name}", 0, round(new / kept), new)
        yield f"grow@{name}", "teacher", new
    if settings.exam.scorer.kind == "referee":  # else their exams ask nothing new
        exams = ("evaluate@0", "referee")
        graded = sum(calls for stage, role, calls in loop if (stage, role) == exams)
        yield from ((f"evaluate@{name}", "referee", graded) for name in settings.baselines)


def _curve_calls(settings: Settings) -> Iterator[_Asking]:
    """Yield the points of the curve: their exams use the teacher's answers to the base's exam."""
    yield from ((f"curve@{rows}", "teacher", 0) for rows in settings.curve)


def _spend(settings: Settings, baseline: Baseline, loop: Sequence[_Asking]) -> Spend:
    """Return what the iteration of a baseline took, or will take as the plan has it."""
    like, price = baseline.like, baseline.completion_price
    review, generate = _metrics(like, ReviewMetrics), _metrics(like, GenerateMetrics)
    teach = _metrics(like, TeachMetrics)
    if review is not None and generate is not None and teach is not None:
        with suppress(DataError):  # a server that counts no tokens: the estimate stands
            return spend_of(review, generate, teach, price)

    def weighted(*kinds: str) -> float:
        stages = {f"{kind}@{like}" for kind in kinds}
        parts = [asking for asking in loop if asking[0] in stages]
        return sum(calls * _weight(settings, stage, role, price) for stage, role, calls in parts)

    rules = settings.generate_at(like)
    return Spend(weighted("review"), weighted("generate", "teach"), rules.hard + rules.easy)


def _weight(settings: Settings, stage: str, role: str, price: float) -> float:
    prompt, completion, _ = _tokens(settings, stage, role, _endpoint(settings, stage, role))
    return prompt + price * completion


def _certifying(settings: Settings, sizes: _Sizes) -> Iterator[_Asking]:
    """Yield the calls of certificates; the teacher's are the first student's alone."""
    certify, is_open = settings.certify, settings.exam.scorer.kind == "referee"
    for number, name in enumerate(certify.students):
        if is_open:
            yield f"certify@{name}", "referee", 2 * sizes.apart
        if number == 0 and "teacher" in certify.ask:
            again = min(certify.self_rows, sizes.apart)
            yield f"certify@{name}", "teacher", sizes.apart if is_open else again


def _calibrating(settings: Settings, name: str, judged: int) -> Iterator[_Asking]:
    """Yield the calls of calibration; anchors are asked in the first iteration only."""
    calibrate = settings.calibrate
    if name not in calibrate.iterations:
        return
    if calibrate.anchors is not None and name == calibrate.iterations[0]:
        yield f"calibrate@{name}", "referee", 2 * calibrate.anchor_rows
    if calibrate.second is not None:
        yield f"calibrate@{name}", "second", 2 * min(calibrate.second_rows, judged)


def _reviews(settings: Settings, responses: int) -> int:
    """Return the count of reviews: two per response, or the mean number so far."""
    limit = settings.review.limit
    drawn = responses if limit is None else min(limit, responses)
    each = None if _full(settings) else _reviews_each(settings)
    return round(drawn * (2 * settings.review.samples if each is None else each))


def _reviews_each(settings: Settings) -> float | None:
    """Return the mean reviews per response in earlier iterations, or None without any."""
    limit = settings.review.limit
    reviews = drawn = 0
    for name in settings.iterations:
        metrics = _metrics(name, ReviewMetrics)
        if metrics is not None and metrics.responses:
            reviews += metrics.reviews
            drawn += metrics.responses if limit is None else min(limit, metrics.responses)
    return reviews / drawn if drawn else None


def _full(settings: Settings) -> bool:
    """Return whether every response before the referee is judged in both orders."""
    if settings.review.judge == "likelihood":
        return True
    return settings.review.second_order_margin is None and settings.review.same_answer == "ask"


def _precision(settings: Settings, stage: str) -> Precision:
    if stage.startswith(("bootstrap@", "generate@", "grow@")):
        return "about"
    if stage.startswith("calibrate@"):
        return "at_most"
    if not stage.startswith("review@") or _full(settings):
        return "exactly"
    return "at_most" if _reviews_each(settings) is None else "about"


def _acceptance(
    iterations: Iterable[str], kind: type[BootstrapMetrics] | type[GenerateMetrics]
) -> float:
    """Return the share of candidates kept so far; 0.9 where there are none yet."""
    kept = candidates = 0
    for name in iterations:
        metrics = _metrics(name, kind)
        for funnel in () if metrics is None else metrics.funnels.values():
            kept += funnel.kept
            candidates += funnel.asked
    return max(0.05, kept / candidates) if candidates else 0.9


def _need(
    settings: Settings, stage: str, role: str, estimated: int, exact: Exact | None, prices: Prices
) -> Need:
    endpoint = _endpoint(settings, stage, role)
    in_ledger, calls = (exact.in_ledger, exact.missing) if exact else (0, estimated)
    precision = _precision(settings, stage)
    if exact is not None and exact.missing and precision != "exactly":
        calls = max(exact.missing, estimated - exact.in_ledger)  # plus later rounds
    elif exact is not None:
        precision = "exactly"
    prompt, completion, basis = _tokens(settings, stage, role, endpoint)
    usage = Usage(round(calls * prompt), round(calls * completion))
    rounds = _rounds(settings, stage, calls)
    mode = _mode(settings, role, ceil(calls / max(1, rounds)))
    rates = prices.rates(endpoint, batch=mode == "batch")
    measured = completion if basis == "measured" else None
    each, pace = endpoint_pace.call_seconds(settings, role, endpoint, measured)
    return Need(
        stage=stage,
        role=role,
        calls=calls,
        precision=precision,
        in_ledger=in_ledger,
        prompt_tokens=usage.prompt,
        completion_tokens=usage.completion,
        basis="ledger" if in_ledger and not calls else basis,
        nanodollars=None if rates is None else rates.cost(usage),
        seconds=rounds * _DAY if mode == "batch" else _duration(settings, calls, usage, each),
        mode=mode,
        pace=pace,
    )


def _rounds(settings: Settings, stage: str, calls: int) -> int:
    """Return how many rounds a stage asks in, each after the replies to the last."""
    if stage.startswith("bootstrap@"):
        return ceil(calls / settings.bootstrap[project.BASE].requests_per_round)
    if stage.startswith(("generate@", "grow@")):
        return ceil(calls / settings.generate.requests_per_round)
    return (
        2 if stage.startswith("review@") and settings.review.second_order_margin is not None else 1
    )


def _mode(settings: Settings, role: str, calls: int) -> Mode:
    """Return the mode of so many calls: too few for a batch are asked live."""
    mode: Mode = getattr(settings.api.mode, role, "live")  # filters of generation are live
    return mode if calls >= settings.api.batch_least else "live"


def _tokens(
    settings: Settings, stage: str, role: str, endpoint: Endpoint
) -> tuple[float, float, Basis]:
    """Return prompt and completion tokens per call in this role, and their basis."""
    # bootstrap asks for many tasks per call
    bootstraps = stage.startswith("bootstrap@") and role == "generator"
    requests = prompt = completion = 0
    for usage in _usage_so_far(settings, role, bootstraps=bootstraps):
        requests += usage.requests - usage.replies_without_usage
        prompt += usage.prompt_tokens
        completion += usage.completion_tokens
    if requests > 0:
        return prompt / requests, completion / requests, "measured"
    folder = "bootstrap" if bootstraps else "referee" if role == "second" else role
    texts = (project.PROMPTS / folder).glob("*.txt")
    template = max((path.stat().st_size for path in texts), default=0) / _BYTES_A_TOKEN
    if role == "embedder":
        return template + _WORDS, 0, "estimated"
    cap = protocol.completion_cap(endpoint) or _CAP
    if bootstraps:
        entry = settings.bootstrap[project.BASE]
        shown = _WORDS * (entry.from_seeds + entry.from_made)
        return template + shown, min(cap, _WORDS * entry.per_call), "estimated"
    if role == "safety":
        return template + _WORDS, _WORD, "estimated"
    answers = 2 * _SHARE_OF_CAP * cap if role in ("referee", "second") else 0
    return template + _WORDS + answers, _SHARE_OF_CAP * cap, "estimated"


def _usage_so_far(settings: Settings, role: str, *, bootstraps: bool) -> Iterator[RoleUsage]:
    """Yield what earlier stages have used of this role."""
    asking = [
        stage
        for stage in STAGES.values()
        if role in stage.asks and (role != "generator" or (stage.name == "bootstrap") == bootstraps)
    ]
    for name in (project.BASE, *settings.iterations):
        for stage in asking:
            metrics = None if stage.metrics is None else _metrics(name, stage.metrics)
            used = None if metrics is None else metrics.used.get(role)
            if used is not None:
                yield used


def _duration(settings: Settings, calls: int, usage: Usage, each: float) -> float:
    """Return the seconds of so many calls of `each` seconds at the limits of params."""
    api = settings.api
    paces = [calls * each / api.concurrency]
    if api.requests_per_minute:
        paces.append(60 * calls / api.requests_per_minute)
    if api.tokens_per_minute:
        paces.append(60 * (usage.prompt + usage.completion) / api.tokens_per_minute)
    return max(paces)


def _metrics(name: str, kind: type[M]) -> M | None:
    """Return metrics of the params at hand; None where there are none."""
    return StaleOutputs.of_workspace().read_current(project.metrics(name, kind.FILE), kind)
