"""One instruction's life on a terminal, or as JSON. What it was is `tracing`'s to say."""

import json
from collections.abc import Iterator

import msgspec
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from lion.escape import DASH, inert, line
from lion.records.rows import Instruction, Review
from lion.reporting.provenance import Made
from lion.reporting.trace import Life, Round
from lion.student.chat_format import transcript

_SHORT = 100  # characters of another row's text
_LEARNT = {"new": "as a new row", "replayed": "replayed, as an old row"}


def trace_as_json(life: Life) -> str:
    """Return everything as one JSON object."""
    return json.dumps(msgspec.to_builtins(life), indent=2, ensure_ascii=False)


def trace_as_text(life: Life) -> RenderableType:
    """Return the life for a terminal: nothing of it is cut but the texts of other rows."""
    return Group(*_parts(life))


def _parts(life: Life) -> Iterator[RenderableType]:
    own = life.instruction
    yield Text(own.id, style="bold")
    about = life.domain or own.category
    yield _dim(f"{own.origin}, iteration {own.iteration}{f', {inert(about)}' if about else ''}")
    yield _text(transcript(own.messages))
    if life.ancestors:
        yield _title("It came from")
        yield from (_short(ancestor) for ancestor in life.ancestors)
    if life.made is not None:
        yield from _made(life.made)
    if own.answer is not None:
        yield _title(f"The teacher's answer ({own.answer.model or 'from the file'})")
        yield _text(own.answer.text)
    for entry in life.rounds:
        yield from _round(entry)
    if life.children:
        yield _title(f"{len(life.children)} made from it")
        yield from (_short(child) for child in life.children)
    yield from (_dim(note) for note in life.notes)


def _made(generation: Made) -> Iterator[RenderableType]:
    if generation.prompt is not None:
        yield _title("The generator was asked")
        yield _text(generation.prompt)
    yield _title("It replied")
    yield _dim(generation.unknown or "") if generation.reply is None else _text(generation.reply)


def _round(entry: Round) -> Iterator[RenderableType]:
    parts = [*_sat(entry), *_fate(entry)]
    if parts:
        yield _title(f"Iteration {entry.iteration}")
        yield from parts


def _sat(entry: Round) -> Iterator[RenderableType]:
    if entry.response is not None:
        yield _text(f"{entry.response.model or 'the student'}: {entry.response.text}")
    yield from (_text(_review(review)) for review in entry.reviews)
    verdict = entry.verdict
    if verdict is not None:
        gap = DASH if verdict.gap is None else f"{verdict.gap:g}"
        reason = f", {verdict.reason}" if verdict.reason else ""
        yield _text(f"verdict: {verdict.difficulty}, gap {gap}{reason}")


def _review(review: Review) -> str:
    order = review.order.replace("_", " ")
    if review.reason is not None:
        return f"referee, {order}: no scores ({review.reason}). {review.evidence}"
    scores = f"teacher {review.teacher_score:g}, student {review.student_score:g}"
    return f"referee, {order}: {scores}. {review.evidence}"


def _fate(entry: Round) -> Iterator[RenderableType]:
    dropped = {row.stage: row for row in entry.dropped}
    if entry.learnt is not None and "tune" not in dropped:
        yield _text(f"student {entry.iteration} was tuned on it, {_LEARNT[entry.learnt]}")
    for row in dropped.values():
        yield _text(
            f"dropped in {row.stage}: {row.reason}{f', {row.detail}' if row.detail else ''}"
        )


def _title(text: str) -> RenderableType:
    return Text(f"\n{inert(text)}", style="bold")


def _dim(text: str) -> RenderableType:
    return Text(inert(text), style="dim")


def _text(text: str) -> RenderableType:
    return Padding(Text(inert(text)), (0, 0, 0, 2), expand=False)


def _short(instruction: Instruction) -> RenderableType:
    said = line(transcript(instruction.messages), _SHORT)
    return _text(
        f"{instruction.id}  {instruction.origin}, iteration {instruction.iteration}: {said}"
    )
