"""The iterations side by side: what metrics and records of runs say, gathered. Reads, never judges.

Metrics follow from the inputs; records of runs (`.lion/runs/`) tell what really happened on this
machine, and are absent in a fresh clone.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lion import jsonl, project

Document = Mapping[str, Any]
Read = Callable[[Path], Document]
STAGES = ("respond", "review", "split", "calibrate", "generate", "teach", "tune", "evaluate")
_ASKING = (
    ("teach", "teacher"),
    ("generate", "generator"),
    ("generate", "embedder"),
    ("generate", "safety"),
    ("review", "referee"),
    ("evaluate", "referee"),
    ("calibrate", "referee"),
    ("calibrate", "second"),
)
_TOLD = ("flip_rate", "position_bias", "tie_rate", "length_correlation")
_GROWING = ("generator", "embedder", "safety")


@dataclass(frozen=True, slots=True)
class Reviews:
    """What judging an iteration's responses needed, and what it brought.

    `requests` and `tokens` follow from the inputs; money is what this machine paid (None: unknown
    here). `hard` are the hard instructions that entered the Train Pool. `audit` holds the counts of
    `discrimination.Audit`.
    """

    requests: int
    tokens: int
    nanodollars: int | None
    unpriced: int | None
    hard: int
    audit: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Judge:
    """What an iteration's reviews tell of their referee: see `calibration.figures`.

    `within` is the share of its verdicts whose gap lies within the `noise` of `tau`.
    """

    flip_rate: float | None
    position_bias: float | None
    tie_rate: float | None
    length_correlation: float | None
    noise: float | None
    tau: float
    within: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One iteration's figures; None where there is none (yet).

    `wasted` of the `calls` brought nothing: `throttled` were refused (429), `billed` may have been
    charged all the same.
    """

    iteration: str
    previous: str | None
    train_pool: int | None
    cache_pool: int | None
    hard_share: float | None
    mean_gap: float | None
    asked: int | None
    kept: int | None
    dropped: Mapping[str, int]
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    teacher_accuracy: float | None
    quality: float | None
    quality_interval: tuple[float, float] | None
    requests: int | None
    tokens: int | None
    calls: int | None
    nanodollars: int | None
    unpriced: int | None
    seconds: float | None
    stopped: str | None
    reviews: Reviews | None = None
    judge: Judge | None = None
    wasted: int | None = None
    throttled: int | None = None
    billed: int | None = None


def lines(iterations: Mapping[str, str], read: Read | None = None) -> list[Line]:
    """Return the base's line, then one per iteration (name: predecessor), in their order.

    `read` returns the document at a path, empty where there is none; the workspace's by default.
    """
    everything = {"0": None, **iterations}
    return [_line(name, previous, read or _document) for name, previous in everything.items()]


def _line(name: str, previous: str | None, read: Read) -> Line:
    stages = ("bootstrap", "seed", *STAGES)
    found = {stage: read(project.metrics(name, stage)) for stage in stages}
    records = [read(project.run_record(f"{stage}@{name}")) for stage in stages]
    used = _used(found)
    if name == "0":  # the later iterations find the teacher's exam answers in the ledger
        used.append(found["evaluate"].get("teacher") or {})
        used += [found["bootstrap"].get(role) or {} for role in _GROWING]
    funnels = [found["generate"].get(kind, {}) for kind in ("hard", "easy")]
    grown = [found["bootstrap"].get(kind, {}) for kind in ("classification", "open")]
    return Line(
        iteration=name,
        previous=previous,
        train_pool=found["seed"].get("rows") if name == "0" else found["generate"].get("new"),
        cache_pool=found["teach"].get("cache_pool"),
        hard_share=found["split"].get("hard_share"),
        mean_gap=found["split"].get("mean_gap"),
        asked=_sum(funnels, "asked") if found["generate"] else None,
        kept=_sum(funnels, "kept") if found["generate"] else None,
        dropped=_dropped([*grown, *funnels, *(one.get("dropped") or {} for one in found.values())]),
        accuracy=found["evaluate"].get("accuracy"),
        accuracy_interval=_interval(found["evaluate"].get("accuracy_interval")),
        teacher_accuracy=found["evaluate"].get("teacher_accuracy"),
        quality=found["evaluate"].get("quality"),
        quality_interval=_interval(found["evaluate"].get("quality_interval")),
        requests=_asked(used, "requests"),
        tokens=_asked(used, "prompt_tokens", "completion_tokens"),
        calls=_happened(records, "calls"),
        nanodollars=_happened(records, "nanodollars"),
        unpriced=_happened(records, "unpriced"),
        seconds=sum(record["seconds"] for record in records if record) or None,
        stopped=found["split"].get("stopped"),
        reviews=_reviews(name, found, read),
        judge=_judge(name, found, read),
        **{key: _happened(records, key) for key in ("wasted", "throttled", "billed")},
    )


def _reviews(name: str, found: Mapping[str, Document], read: Read) -> Reviews | None:
    """Return what judging needed; None where no referee was asked."""
    used = found["review"].get("referee")
    audit = read(project.metrics(name, "agreement")).get("audit")
    if not used or audit is None:
        return None
    record = read(project.run_record(f"review@{name}"))
    return Reviews(
        requests=used["requests"],
        tokens=used["prompt_tokens"] + used["completion_tokens"],
        nanodollars=_happened([record], "nanodollars"),
        unpriced=_happened([record], "unpriced"),
        hard=found["generate"].get("hard", {}).get("kept", 0),
        audit=audit,
    )


def _judge(name: str, found: Mapping[str, Document], read: Read) -> Judge | None:
    """Return what reviews tell of their referee; None where none was asked, or of too few rows."""
    told = read(project.metrics(name, "calibration"))
    noise = read(project.metrics(name, "agreement")).get("noise")
    if not found["review"].get("referee") or not noise or told.get("noise") is None:
        return None
    return Judge(
        **{key: told[key] for key in _TOLD},
        noise=noise["deviation"],
        tau=noise["tau"],
        within=noise["within"],
    )


def _document(path: Path) -> Document:
    return jsonl.read_document(path) if path.exists() else {}


def _used(found: Mapping[str, Document]) -> list[Document]:
    return [found[stage].get(role) or {} for stage, role in _ASKING]


def _asked(used: list[Document], *keys: str) -> int | None:
    """Return a sum over the roles, or None where no stage that asks has run."""
    return sum(one.get(key, 0) for one in used for key in keys) if any(used) else None


def _sum(funnels: list[Document], key: str) -> int:
    return sum(funnel.get(key, 0) for funnel in funnels)


def _dropped(parts: list[Document]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for reason, count in part.items():
            if count and reason not in ("asked", "kept"):
                total[reason] = total.get(reason, 0) + count
    return dict(sorted(total.items()))


def _interval(value: Any) -> tuple[float, float] | None:
    """Return (low, high), or None where there is none: a category of one row has no interval."""
    return None if value is None or value["low"] is None else (value["low"], value["high"])


def _happened(records: list[Document], key: str) -> int | None:
    asked = [part for record in records if record for part in record["asked"].values()]
    return sum(int(part.get(key, 0)) for part in asked) if any(records) else None


def as_json(found: list[Line]) -> str:
    """Return the lines as one JSON array, for scripts."""
    return json.dumps([asdict(line) for line in found], indent=2)
