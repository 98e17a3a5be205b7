"""The path of one instruction through the loop, as `lion trace` shows it.

Where it came from, what each iteration's student and referee wrote, and which student was tuned on
it. A revision's files are read line by line, and only lines that contain the id are parsed. What
cannot be recovered (a reply that this ledger lacks, the parameters of an old revision) is reported
in `notes`. Requests are rebuilt in `provenance`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import orjson
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from lion.config import project
from lion.config.settings import Settings
from lion.conversations import transcript
from lion.discrimination.likelihood import audited_answers
from lion.errors import DataError, LionError
from lion.escape import DASH, inert, line
from lion.pipeline import revisions
from lion.pipeline.revisions import Place, Tree
from lion.records import jsonl
from lion.records.rows import Answer, Dropped, Instruction, Likelihood, Review, Row, Verdict
from lion.reporting import provenance
from lion.reporting.domains import shown_label
from lion.reporting.provenance import Generation
from lion.stage_table import STAGES

_LEAST = 4  # digits of an id
_SHORT = 100  # characters of another row's text
_LEARNT = {"new": "as a new row", "replayed": "replayed, as an old row"}
_DROPPING = tuple(dict.fromkeys(stage.kind for stage in STAGES.values() if stage.drops))


@dataclass(frozen=True, slots=True)
class IterationTrace:
    """The response, reviews, verdict and use of an instruction in one iteration.

    `likelihood` is that of the teacher's answer, where it judged.
    `learnt`: `new` or `replayed` if this iteration's student was tuned on it, else None.
    """

    iteration: str
    response: Answer | None
    likelihood: Likelihood | None
    reviews: tuple[Review, ...]
    verdict: Verdict | None
    learnt: str | None
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True)
class InstructionTrace:
    """Everything known of an instruction. `ancestors` begin with the seed.

    `made` is None for a seed, `children` were generated from the instruction, and `notes` say what
    could not be recovered.
    """

    instruction: Instruction
    domain: str | None
    ancestors: tuple[Instruction, ...]
    generation: Generation | None
    rounds: tuple[IterationTrace, ...]
    children: tuple[Instruction, ...]
    notes: tuple[str, ...]


def trace(place: Place, prefix: str) -> InstructionTrace:
    """Return the trace of the instruction whose id begins with `prefix`.

    Raises DataError where no id or more than one begins so.
    """
    tree, iteration = place.tree, revisions.iteration_of(place)
    chain = revisions.lineage(revisions.iterations(tree), iteration)
    pool = project.data(iteration, "cache_pool.jsonl")
    untaught = [project.data(name, "train_pool.jsonl") for name in chain]
    row = _row(tree, [*untaught, project.EXAM, pool], prefix)  # the last has the answer, too
    own = jsonl.parsed(row, Instruction)
    settings, notes = _settings(tree)
    ancestors = tuple(_ancestors(tree, pool, own))
    generation = None
    if own.parent is not None:
        generation = provenance.how_generated(
            tree, settings, own, ancestors[-1] if ancestors else None
        )
    return InstructionTrace(
        instruction=own,
        domain=row.get("domain"),
        ancestors=ancestors,
        generation=generation,
        rounds=tuple(_iteration(tree, name, own.id, settings) for name in chain),
        children=tuple(
            jsonl.parsed(child, Instruction)
            for child in _naming(tree, pool, own.id)
            if child.get("parent") == own.id
        ),
        notes=notes,
    )


def _row(tree: Tree, paths: Sequence[Path], prefix: str) -> Row:
    if len(prefix) < _LEAST or not set(prefix) <= set("0123456789abcdef"):
        raise DataError(f"{prefix}: an id is 16 hex digits; at least its first {_LEAST} are needed")
    rows = {
        row["id"]: row
        for path in paths
        for row in _naming(tree, path, prefix)
        if row["id"].startswith(prefix)
    }
    if len(rows) > 1:
        raise DataError(f"{prefix}: {len(rows)} ids begin so: {', '.join(sorted(rows)[:5])} ...")
    if not rows:
        raise DataError(
            f"{prefix}: no such id in the pools of {tree.name} up to {paths[-1]}, nor in the exam. "
            "`lion show --search TEXT` finds ids."
        )
    return rows.popitem()[1]


def _naming(tree: Tree, path: Path, identity: str) -> Iterator[Row]:
    """Yield the rows of a file that contain `identity`; none if the file is missing."""
    local = tree.local(path)
    if local is None:
        return
    mark = identity.encode()
    with local.open("rb") as file:
        for line in file:
            if mark in line:
                yield orjson.loads(line)


def _of(tree: Tree, iteration: str, name: str, identity: str) -> list[Row]:
    rows = _naming(tree, project.data(iteration, name), identity)
    return [row for row in rows if row.get("id") == identity]


def _ancestors(tree: Tree, pool: Path, own: Instruction) -> list[Instruction]:
    """Return the instructions that lead to `own`, the seed first."""
    chain: list[Instruction] = []
    parent = own.parent
    while parent is not None:
        row = next(
            (candidate for candidate in _naming(tree, pool, parent) if candidate["id"] == parent),
            None,
        )
        if row is None:
            break
        chain.append(jsonl.parsed(row, Instruction))
        parent = chain[-1].parent
    return chain[::-1]


def _iteration(
    tree: Tree, iteration: str, identity: str, settings: Settings | None
) -> IterationTrace:
    def rows(name: str) -> list[Row]:
        return _of(tree, iteration, name, identity)

    response, scored = _responses(rows("responses.jsonl") or rows("exam_responses.jsonl"))
    return IterationTrace(
        iteration=iteration,
        response=response,
        likelihood=scored,
        reviews=tuple(jsonl.parsed(row, Review) for row in rows("reviews.jsonl")),
        verdict=next((jsonl.parsed(row, Verdict) for row in rows("verdicts.jsonl")), None),
        learnt=provenance.learnt(tree, settings, iteration, identity),
        dropped=tuple(
            jsonl.parsed(row, Dropped)
            for stage in _DROPPING
            for row in rows(f"dropped.{stage}.jsonl")
        ),
    )


def _responses(rows: Sequence[Row]) -> tuple[Answer | None, Likelihood | None]:
    """Return the student's answer, and the likelihood of the teacher's where that judged."""
    if not rows:
        return None, None
    if "nll_nats" not in rows[0]:
        return jsonl.parsed(rows[0], Answer), None
    scored = jsonl.parsed(rows[0], Likelihood)
    own = audited_answers([scored])
    return (own[0] if own else None), scored


def _settings(tree: Tree) -> tuple[Settings | None, tuple[str, ...]]:
    path = tree.local(project.PARAMS)
    if path is None:
        return None, ()
    try:
        return project.load_settings(path), ()
    except LionError as error:
        problem = " ".join(str(error).split())
        return None, (
            f"what params.yaml of {tree.name} says is not known to this version: {problem}",
        )


def trace_as_json(traced: InstructionTrace) -> str:
    """Return the trace as one JSON object."""
    return json.dumps(msgspec.to_builtins(traced), indent=2, ensure_ascii=False)


def trace_as_text(traced: InstructionTrace) -> RenderableType:
    """Return the trace for a terminal; only the texts of other rows are cut."""
    return Group(*_parts(traced))


def _parts(traced: InstructionTrace) -> Iterator[RenderableType]:
    own = traced.instruction
    yield Text(own.id, style="bold")
    about = shown_label(traced.domain) if traced.domain else own.category
    yield _dim(f"{own.origin}, iteration {own.iteration}{f', {inert(about)}' if about else ''}")
    yield _text(transcript(own.messages))
    if traced.ancestors:
        yield _title("It came from")
        yield from (_short(ancestor) for ancestor in traced.ancestors)
    if traced.generation is not None:
        yield from _generation_parts(traced.generation)
    if own.answer is not None:
        yield _title(f"The teacher's answer ({own.answer.model or 'from the file'})")
        yield _text(own.answer.text)
    for entry in traced.rounds:
        yield from _iteration_parts(entry)
    if traced.children:
        yield _title(f"{len(traced.children)} made from it")
        yield from (_short(child) for child in traced.children)
    yield from (_dim(note) for note in traced.notes)


def _generation_parts(generation: Generation) -> Iterator[RenderableType]:
    if generation.prompt is not None:
        yield _title("The generator was asked")
        yield _text(generation.prompt)
    yield _title("It replied")
    yield _dim(generation.unknown or "") if generation.reply is None else _text(generation.reply)


def _iteration_parts(entry: IterationTrace) -> Iterator[RenderableType]:
    parts = [*_judgement(entry), *_outcome(entry)]
    if parts:
        yield _title(f"Iteration {entry.iteration}")
        yield from parts


def _judgement(entry: IterationTrace) -> Iterator[RenderableType]:
    if entry.response is not None:
        yield _text(f"{entry.response.model or 'the student'}: {entry.response.text}")
    if entry.likelihood is not None:
        yield _text(_likelihood(entry.likelihood))
    yield from (_text(_review(review)) for review in entry.reviews)
    if entry.verdict is not None:
        yield _text(_verdict(entry.verdict))


def _likelihood(scored: Likelihood) -> str:
    if scored.nll_nats is None:
        return f"the teacher's answer before the student: no likelihood ({scored.reason})"
    bare = scored.unprompted_nats
    more = "" if bare is None else f", {bare:.3f} without the prompt"
    own = ", the student's own answer" if scored.same_answer else ""
    return (
        f"the teacher's answer before the student: {scored.nll_nats:.3f} nats a token of "
        f"{scored.tokens:,}{more}{own}"
    )


def _verdict(verdict: Verdict) -> str:
    reason = f", {verdict.reason}" if verdict.reason else ""
    if verdict.signal is not msgspec.UNSET:
        score = verdict.signal.score_nats
        by = "by lot" if verdict.basis == "uniform" else "by likelihood"
        shown = "" if score is None else f", score {score:.3f}"
        return f"verdict: {verdict.difficulty} {by}{shown}{reason}"
    gap = DASH if verdict.gap is None else f"{verdict.gap:g}"
    return f"verdict: {verdict.difficulty}, gap {gap}{reason}"


def _review(review: Review) -> str:
    order = review.order.replace("_", " ")
    if review.reason is not None:
        return f"referee, {order}: no scores ({review.reason}). {review.evidence}"
    scores = f"teacher {review.teacher_score:g}, student {review.student_score:g}"
    return f"referee, {order}: {scores}. {review.evidence}"


def _outcome(entry: IterationTrace) -> Iterator[RenderableType]:
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
