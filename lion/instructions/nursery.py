"""Candidates become new instructions here: one by one, in the order of their requests. Pure.

What is kept is new against the Cache Pool and against everything kept before it, and meets no exam
row. Whatever is not kept has a reason that is counted.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from lion.errors import DataError
from lion.instructions import quality
from lion.instructions.decontamination import Decontamination
from lion.instructions.domains import labelled
from lion.instructions.near_duplicates import NearDuplicates
from lion.instructions.novelty import Neighbour, Novelty
from lion.instructions.quality import Flaw
from lion.metrics.units import Funnel
from lion.model.chat import transcript
from lion.model.counting import Count
from lion.records import Dropped, Instruction, Kind
from lion.settings import Generate, Quality
from lion.wire import Failure

# each iteration has its own range of sample indices: one parent, asked again an iteration later,
# must not get the reply that the ledger has of it
SAMPLES_PER_DEPTH = 1 << 20

FUNNEL = ("asked", "truncated", "malformed", "too_short", "duplicate", "not_novel", "contaminated")
"""What metrics always tell of a kind, also none; then every other reason, and `kept`."""


@dataclass(slots=True)
class Nursery:
    """Candidates become new instructions here, one by one, in the order of their requests.

    `parents` are the instructions of each kind that may be drawn from; `cache` is all that is known
    so far, `gaps` what verdicts say of the parents, `progress` the weights of the hard ones (see
    `lion.instructions.progress`). What is kept is new against both, and against everything kept
    before it; where there is `near`, which holds the cache, also by its cosines.
    """

    iteration: str
    depth: int
    settings: Generate
    parents: dict[Kind, list[Instruction]]
    cache: Sequence[Instruction]
    guard: Decontamination
    rng: random.Random
    quality: Quality
    tokens: Count | None = None
    gaps: Mapping[str, float] = field(default_factory=dict)
    near: NearDuplicates | None = None
    progress: Mapping[str, float] = field(default_factory=dict)
    kept: list[Instruction] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    funnel: dict[Kind, Counter[str]] = field(default_factory=dict)
    _novelty: Novelty = field(init=False)
    _known: set[str] = field(init=False)
    _seeds: dict[str, str] = field(init=False)
    _of_seed: Counter[str] = field(init=False)
    _children: Counter[str] = field(default_factory=Counter)
    _samples: Counter[tuple[Kind, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Index what is known."""
        self.funnel = {"hard": Counter(), "easy": Counter()}
        self._known = {row.id for row in self.cache}
        self._seeds = lineages(self.cache)
        self._of_seed = Counter(self._seeds[row.id] for row in self.cache if row.parent)
        self._novelty = Novelty(self.settings.novelty, self.settings.tokens)
        for row in self.cache:
            self._novelty.add(row.id, transcript(row.messages))

    def wanted(self, kind: Kind) -> int:
        """Return how many new instructions of `kind` are still to be made."""
        target = self.settings.hard if kind == "hard" else self.settings.easy
        return target - self.funnel[kind]["kept"]

    def prompt(self, kind: Kind) -> Kind:
        """Return which prompt new instructions of `kind` are asked with (see `prompt_of`)."""
        return prompt_of(kind, self.settings)

    def choose(self, kind: Kind) -> Iterator[tuple[Instruction, int]]:
        """Yield the parents of one round, each with its sample index, one per call.

        A round asks for what is still wanted and a tenth more, at most `round` requests. A parent
        with `per_parent` children is not drawn again, nor one whose seed has `per_seed` of them.
        """
        open_ = [row for row in self.parents[kind] if not self._is_full(row)]
        wanted = self.wanted(kind)
        if not open_ or wanted <= 0:
            return
        for _ in range(min(self.settings.round, wanted + (wanted + 9) // 10)):
            parent = self._draw(open_)
            asked = self.prompt(kind), parent.id
            index = self.depth * SAMPLES_PER_DEPTH + self._samples[asked]
            self._samples[asked] += 1
            yield parent, index

    def judge(self, kind: Kind, parent: Instruction, found: str | Dropped) -> bool:
        """Keep a candidate or drop it with its reason; tell which."""
        funnel = self.funnel[kind]
        funnel["asked"] += 1
        if not isinstance(found, Dropped) and self.wanted(kind) <= 0:
            found = Dropped("generate", "surplus", id=parent.id, text=found)
        elif not isinstance(found, Dropped):
            found = self._gate(kind, parent, found)
        if isinstance(found, Dropped):
            funnel[found.reason] += 1
            self.dropped.append(found)
            return False
        funnel["kept"] += 1
        self._children[parent.id] += 1
        return True

    def counts(self, kind: Kind) -> Funnel:
        """Return the acceptance funnel of a kind: asked, then dropped by reason, then kept."""
        funnel = self.funnel[kind]
        others = sorted(set(funnel) - {*FUNNEL, "kept"})
        return Funnel({reason: funnel[reason] for reason in (*FUNNEL, *others, "kept")})

    def withdraw(self, flaws: Mapping[str, Flaw]) -> None:
        """Drop rows that were kept, by id: what was found of them later.

        They stay known, so that nobody asks about their near-copies.
        """
        for row in self.kept:
            if row.id not in flaws:
                continue
            flaw, parent = flaws[row.id], str(row.parent)
            self.funnel[_kind(row)].update({flaw.reason: 1, "kept": -1})
            self._children[parent] -= 1
            self._of_seed[self._seeds[row.id]] -= 1
            text = transcript(row.messages)
            self.dropped.append(Dropped("generate", flaw.reason, parent, text, flaw.detail))
        self.kept = [row for row in self.kept if row.id not in flaws]

    def _gate(self, kind: Kind, parent: Instruction, text: str) -> str | Dropped:
        try:
            made = Instruction.new(
                [{"role": "user", "content": text}],
                origin=kind,
                iteration=self.iteration,
                parent=parent.id,
            )
        except DataError as error:
            return Dropped("generate", "malformed", id=parent.id, detail=str(error))
        objection = self._objection(made, parent, text)
        neighbour = None if objection else self._novelty.neighbour(text)
        if neighbour is not None and not self._novelty.is_new(neighbour):
            objection = "not_novel", f"{neighbour.id} at {neighbour.similarity:.3f}"
        closest = None if objection or self.near is None else self.near.neighbour(text)
        if self.near is not None:
            objection = objection or self.near.objection(closest)
        if objection is not None:
            reason, detail = objection
            return Dropped("generate", reason, id=parent.id, text=text, detail=detail)
        self._known.add(made.id)
        self._seeds[made.id] = self._seeds.get(parent.id, parent.id)
        self._of_seed[self._seeds[made.id]] += 1
        self._novelty.add(made.id, text)
        if self.near is not None:
            self.near.add(made.id, text)
        self.kept.append(replace(labelled(made), nearest=_told(neighbour), closest=_told(closest)))
        return text

    def _objection(
        self, made: Instruction, parent: Instruction, text: str
    ) -> tuple[str, str | None] | None:
        """Return why `made` cannot enter, and more of it, cheap questions first."""
        if self._is_full(parent):
            return "parent_full", None
        if made.id in self._known:
            return "duplicate", made.id
        flaw = quality.flaw(text, self.quality, self.tokens)
        if flaw is not None:
            return flaw.reason, flaw.detail
        meeting = self.guard.meets(text)
        return None if meeting is None else ("contaminated", str(meeting))

    def _is_full(self, parent: Instruction) -> bool:
        """Say whether a parent has all the children, or its seed all the offspring, it may have."""
        of_parent, of_seed = self.settings.per_parent, self.settings.per_seed
        seed = self._seeds.get(parent.id, parent.id)
        return (of_parent is not None and self._children[parent.id] >= of_parent) or (
            of_seed is not None and self._of_seed[seed] >= of_seed
        )

    def _draw(self, open_: Sequence[Instruction]) -> Instruction:
        """Draw a parent: uniformly over rows or domains, or by the weights of `choice`.

        `gap`: a point of score above the least of its kind makes a draw twice as likely as at it,
        two points three times. `progress` weighs hard parents alone.
        """
        if self.settings.feedback == "balanced":
            domains = _by_domain(open_)
            return self.rng.choice(domains[self.rng.choice(list(domains))])
        if self.settings.choice == "gap":
            return self.rng.choices(open_, self._weights(open_))[0]
        if self.settings.choice == "progress":
            return self.rng.choices(open_, [self.progress.get(row.id, 1.0) for row in open_])[0]
        return self.rng.choice(open_)

    def _weights(self, open_: Sequence[Instruction]) -> list[float]:
        gaps = [self.gaps[row.id] for row in open_]
        return [1 + gap - min(gaps) for gap in gaps]


def _told(neighbour: Neighbour | Failure | None) -> tuple[str, float] | None:
    if isinstance(neighbour, Neighbour):
        return neighbour.id, round(neighbour.similarity, 4)
    return None


def _kind(row: Instruction) -> Kind:
    return "hard" if row.origin == "hard" else "easy"


def _by_domain(rows: Sequence[Instruction]) -> dict[str | None, list[Instruction]]:
    """Return the rows by their label, in the order of their first rows."""
    found: dict[str | None, list[Instruction]] = {}
    for row in rows:
        found.setdefault(row.domain, []).append(row)
    return found


def prompt_of(kind: Kind, settings: Generate) -> Kind:
    """Return which prompt asks for new instructions of `kind`.

    One-way imitation has one only: the same domain, the same task type.
    """
    return "hard" if settings.feedback in ("uniform", "balanced") else kind


def lineages(rows: Sequence[Instruction]) -> dict[str, str]:
    """Return for each row the id of the seed that it leads back to; a seed leads to itself."""
    parents = {row.id: row.parent for row in rows}
    found: dict[str, str] = {}
    for row in rows:
        at = row.id
        while (parent := parents.get(at)) is not None and at not in found:
            at = parent
        found[row.id] = found.get(at, at)
    return found
