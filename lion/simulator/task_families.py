"""The twenty task families of the simulator, from common to rare: pools, exams, and solving.

Draws base pools and exams, parses an instruction from its text, and decides which items are held
out. Every draw is a function of its seed; no file is read.

An item's `key` is its content without the wording. A hash of the key decides whether the item is
held out for exams: the same items in every run, so no pool of any seed contains an exam item in
another wording.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from lion.errors import DataError
from lion.simulator.phrasing import LONGEST, WORDINGS, Wording, normal
from lion.simulator.tasks import PUZZLES, Content, Puzzle

LEVELS = (1, 2, 3)
LEVEL_WEIGHTS = (0.5, 0.3, 0.2)
HELD_OUT_OF = 6  # one key in six is held out

# A family without a new task in so many draws is exhausted.
_TRIES = 2000


@dataclass(frozen=True, slots=True)
class Task:
    """An instruction with its answer, family, level, and `key`, its content."""

    instruction: str
    answer: str
    family: str
    level: int
    key: str


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of task: its puzzle and wordings. `rank` 1 is the most common family."""

    name: str
    rank: int
    puzzle: Puzzle
    wordings: tuple[Wording, ...]

    def content(self, random: Random, level: int) -> Content:
        """Draw a content of `level`."""
        return self.puzzle.draw(random, self.puzzle.smallest + level - 1)

    def task(self, content: Content, instruction: str) -> Task | None:
        """Return the task of `content`, or None where it does not have exactly one answer."""
        answer = self.puzzle.solve(content)
        if answer is None:
            return None
        return Task(instruction, answer, self.name, self._level(content), self.key(content))

    def key(self, content: Content) -> str:
        """Return the key of `content`, which does not depend on the wording."""
        return "|".join((self.name, *(f"{key}={content[key]}" for key in sorted(content))))

    def read(self, text: str) -> Content | None:
        """Return the content of a `normal` text, or None where it is of another family."""
        for wording in self.wordings:
            content = wording.read(text)
            if content is not None:
                return content
        return None

    def _level(self, content: Content) -> int:
        steps = self.puzzle.size(content) - self.puzzle.smallest
        return min(max(LEVELS[0] + steps, LEVELS[0]), LEVELS[-1])


FAMILIES = tuple(
    Family(name, rank, puzzle, tuple(map(Wording, WORDINGS[name])))
    for rank, (name, puzzle) in enumerate(PUZZLES.items(), start=1)
)
FAMILY_NAMED = {family.name: family for family in FAMILIES}


def held_out(key: str) -> bool:
    """Return whether the item is held out for exams; depends on the key alone."""
    digest = hashlib.sha256(f"held out?|{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % HELD_OUT_OF == 0


def draw(family: Family, level: int, random: Random, *, held: bool = False) -> Task:
    """Draw a task of a family and level in a random wording, held out or not."""
    while True:
        content = family.content(random, level)
        if held_out(family.key(content)) is held:
            break
    task = family.task(content, random.choice(family.wordings).write(content))
    if task is None:
        raise AssertionError(f"{family.name} drew what it cannot solve: {content}")
    return task


def pool(size: int, *, random_seed: int, skew: float) -> list[Task]:
    """Draw a base pool: families by 1 / rank ** skew, no instruction twice, none held out.

    Raises DataError where a family is exhausted.
    """
    random = Random(f"pool {random_seed}")  # noqa: S311 - reproducible draws, no secrets
    cumulative = list(accumulate(family.rank**-skew for family in FAMILIES))
    chosen = random.choices(FAMILIES, cum_weights=cumulative, k=size)
    seen: set[str] = set()
    return [_fresh(family, random, seen, held=False) for family in chosen]


def exam(size: int, *, random_seed: int) -> list[Task]:
    """Draw an exam: held-out items only, balanced over the families, no content twice.

    Raises DataError where a family is exhausted.
    """
    random = Random(f"exam {random_seed}")  # noqa: S311 - as above
    seen: set[str] = set()
    return [_fresh(family, random, seen, held=True) for family in _in_turn(size)]


def solve(text: str) -> Task | None:
    """Return the task of an instruction's text, with its answer; None for any other text."""
    if len(text) > LONGEST:
        return None
    plain = normal(text)
    for family in FAMILIES:
        content = family.read(plain)
        if content is not None and (task := family.task(content, text.strip())):
            return task
    return None


def _in_turn(size: int) -> Iterator[Family]:
    return (FAMILIES[index % len(FAMILIES)] for index in range(size))


def _fresh(family: Family, random: Random, seen: set[str], *, held: bool) -> Task:
    """Draw a task that is not in `seen`, and add it: exams by content, pools by instruction."""
    for _ in range(_TRIES):
        level = random.choices(LEVELS, LEVEL_WEIGHTS)[0]
        task = draw(family, level, random, held=held)
        identity = task.key if held else task.instruction
        if identity not in seen:
            seen.add(identity)
            return task
    raise DataError(
        f"the family `{family.name}` has no more new tasks after {len(seen)} in all; "
        "ask for a smaller seed.size or exam.size, or a smaller seed.skew"
    )
