"""One instruction's life: where it came from, what was asked and said, who learnt from it.

Reads a revision's files line by line, and parses the lines that name the id. What cannot be known
(a reply that this ledger has not, the parameters of an old revision) is told as such.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from lion.config import project
from lion.config.settings import Settings
from lion.errors import DataError, LionError
from lion.pipeline import revisions
from lion.pipeline.revisions import Place, Tree
from lion.records import jsonl
from lion.records.rows import Answer, Dropped, Instruction, Review, Row, Verdict
from lion.reporting import provenance
from lion.reporting.provenance import Made
from lion.stage_table import STAGES

_LEAST = 4  # digits of an id
_DROPPING = tuple(stage.name for stage in STAGES.values() if stage.drops)


@dataclass(frozen=True, slots=True)
class Round:
    """What one iteration found out about an instruction, and did with it.

    `learnt`: `new` or `replayed` where this iteration's student was tuned on it, else None.
    """

    iteration: str
    response: Answer | None
    reviews: tuple[Review, ...]
    verdict: Verdict | None
    learnt: str | None
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True)
class Life:
    """An instruction's life. `ancestors` begin with the seed; `children` were made from it.

    `made` is None where nobody generated it; `notes` say what could not be known.
    """

    instruction: Instruction
    domain: str | None
    ancestors: tuple[Instruction, ...]
    made: Made | None
    rounds: tuple[Round, ...]
    children: tuple[Instruction, ...]
    notes: tuple[str, ...]


def trace(place: Place, prefix: str) -> Life:
    """Return the life of the instruction whose id begins with `prefix`.

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
        generation = provenance.how_made(tree, settings, own, ancestors[-1] if ancestors else None)
    return Life(
        instruction=own,
        domain=row.get("domain"),
        ancestors=ancestors,
        made=generation,
        rounds=tuple(_round(tree, name, own.id, settings) for name in chain),
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
    """Yield the rows of a file that name `identity` anywhere; none where there is no file."""
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


def _round(tree: Tree, iteration: str, identity: str, settings: Settings | None) -> Round:
    def rows(name: str) -> list[Row]:
        return _of(tree, iteration, name, identity)

    sat = rows("responses.jsonl") or rows("exam_responses.jsonl")
    return Round(
        iteration=iteration,
        response=jsonl.parsed(sat[0], Answer) if sat else None,
        reviews=tuple(jsonl.parsed(row, Review) for row in rows("reviews.jsonl")),
        verdict=next((jsonl.parsed(row, Verdict) for row in rows("verdicts.jsonl")), None),
        learnt=provenance.learnt(tree, settings, iteration, identity),
        dropped=tuple(
            jsonl.parsed(row, Dropped)
            for stage in _DROPPING
            for row in rows(f"dropped.{stage}.jsonl")
        ),
    )


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
