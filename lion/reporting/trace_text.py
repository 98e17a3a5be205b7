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
        yield from (_short(one) for one in life.ancestors)
    if life.made is not None:
        yield from _made(life.made)
    if own.answer is not None:
        yield _title(f"The teacher's answer ({own.answer.model or 'from the file'})")
        yield _text(own.answer.text)
    for one in life.rounds:
        yield from _round(one)
    if life.children:
        yield _title(f"{len(life.children)} made from it")
        yield from (_short(one) for one in life.children)
    yield from (_dim(note) for note in life.notes)


def _made(made: Made) -> Iterator[RenderableType]:
    if made.prompt is not None:
        yield _title("The generator was asked")
        yield _text(made.prompt)
    yield _title("It replied")
    yield _dim(made.unknown or "") if made.reply is None else _text(made.reply)


def _round(one: Round) -> Iterator[RenderableType]:
    told = [*_sat(one), *_fate(one)]
    if told:
        yield _title(f"Iteration {one.iteration}")
        yield from told


def _sat(one: Round) -> Iterator[RenderableType]:
    if one.response is not None:
        yield _text(f"{one.response.model or 'the student'}: {one.response.text}")
    yield from (_text(_review(review)) for review in one.reviews)
    verdict = one.verdict
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


def _fate(one: Round) -> Iterator[RenderableType]:
    dropped = {row.stage: row for row in one.dropped}
    if one.learnt is not None and "tune" not in dropped:
        yield _text(f"student {one.iteration} was tuned on it, {_LEARNT[one.learnt]}")
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


def _short(one: Instruction) -> RenderableType:
    said = line(transcript(one.messages), _SHORT)
    return _text(f"{one.id}  {one.origin}, iteration {one.iteration}: {said}")
