"""The task families: wordings read back, answers against independent solvers, held-out items."""

import itertools
import re
from collections import Counter, deque
from collections.abc import Callable
from random import Random

import pytest

from lion.errors import DataError
from lion.simulator import task_families
from lion.simulator.phrasing import normal
from lion.simulator.task_families import (
    FAMILIES,
    FAMILY_NAMED,
    LEVEL_WEIGHTS,
    LEVELS,
    Family,
    Task,
    draw,
    exam,
    held_out,
    pool,
    solve,
)
from lion.simulator.tasks import KIND_OF, KINDS, LETTERS, NAMES, Content

RARITY = (
    "parity, first or last letter, copy, latest letter, nth letter, largest or smallest digit, "
    "odd one out, reverse, boolean, rotate, count objects, sort letters, web of lies, swap ends, "
    "add, double letters, replace, who is tallest, caesar, tracking swaps"
)

each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def sample(family: Family, count: int = 60) -> list[Content]:
    random = Random(f"sample {family.name}")
    return [family.content(random, level) for level in LEVELS for _ in range(count)]


def test_the_families_stand_in_order_of_rarity() -> None:
    assert ", ".join(family.name for family in FAMILIES) == RARITY
    assert [family.rank for family in FAMILIES] == list(range(1, 21))


def test_the_symbol_sets_are_small_and_without_overlap() -> None:
    assert (len(LETTERS), len(NAMES), len(KIND_OF)) == (12, 8, 36)
    assert sum(map(len, KINDS.values())) == len(KIND_OF)


@each_family
def test_every_wording_reads_back_as_the_same_task(family: Family) -> None:
    assert len(family.wordings) >= 2
    for content in sample(family):
        tasks = [solve(wording.write(content)) for wording in family.wordings]
        assert len({(task.key, task.answer) for task in tasks if task}) == 1
        assert None not in tasks
        for task in filter(None, tasks):
            assert (task.family, task.key) == (family.name, family.key(content))


@each_family
def test_a_drawn_task_is_what_its_text_alone_says(family: Family) -> None:
    random = Random(family.name)
    for level, held in itertools.product(LEVELS, (False, True)):
        task = draw(family, level, random, held=held)
        assert (task.family, task.level, held_out(task.key)) == (family.name, level, held)
        assert solve(task.instruction) == task


@each_family
def test_a_text_is_read_in_one_way_only(family: Family) -> None:
    for content in sample(family, 20):
        for wording in family.wordings:
            text = normal(wording.write(content))
            readings = [
                other.template
                for candidate in FAMILIES
                for other in candidate.wordings
                if other.read(text) is not None
            ]
            assert readings == [wording.template]


@each_family
@pytest.mark.parametrize("shape", ["  {}\n", "{}.", "{} ?", "{}!"])
def test_outer_white_space_and_closing_marks_change_nothing(family: Family, shape: str) -> None:
    task = draw(family, 2, Random(1))
    other = solve(shape.format(task.instruction))
    assert other is not None
    assert (other.key, other.answer) == (task.key, task.answer)


@each_family
def test_instructions_have_the_four_words_that_generation_asks_for(family: Family) -> None:
    for content in sample(family, 20):
        for wording in family.wordings:
            assert len(re.findall(r"\w+", wording.write(content))) >= 4


# Independent solvers: by brute force, by another method, or by Python itself.


def by_eval(content: Content) -> str:
    source = content["expression"].replace("true", "True").replace("false", "False")
    return str(bool(eval(source))).lower()


def by_trying_all_liars(content: Content) -> str:
    clauses = [clause.split(" ", 1) for clause in content["story"].split(", ")]
    names = [name for name, _ in clauses]
    consistent = []
    for values in itertools.product((True, False), repeat=len(names)):
        honest = dict(zip(names, values, strict=True))
        fits = honest[names[0]] == (clauses[0][1] == "tells the truth")
        for speaker, said in clauses[1:]:
            _, subject, what = said.split(" ", 2)
            fits &= honest[speaker] == (honest[subject] == (what == "tells the truth"))
        if fits:
            consistent.append(honest[content["name"]])
    (truthful,) = consistent
    return "yes" if truthful == (content["claim"] == "tell the truth") else "no"


def by_trying_all_orders(content: Content) -> str:
    clauses = [clause.split() for clause in content["story"].split(", ")]
    names = sorted({clause[at] for clause in clauses for at in (0, -1)})
    (tallest,) = {
        order[0]
        for order in itertools.permutations(names)
        if all(
            (order.index(clause[0]) < order.index(clause[-1])) == (clause[2] == "taller")
            for clause in clauses
        )
    }
    return tallest


def by_walking_back(content: Content) -> str:
    clauses = content["story"].split(", ")
    name = content["name"]
    for clause in reversed(clauses):
        words = clause.split()
        if words[-1] == "swap" and name in words:
            name = words[2] if words[0] == name else words[0]
    return next(clause.split()[-1] for clause in clauses if clause.startswith(f"{name} has"))


def by_deque(content: Content) -> str:
    ring = deque(content["letters"].split())
    ring.rotate(int(content["n"]) * (-1 if content["side"] == "left" else 1))
    return " ".join(ring)


def by_translation(content: Content) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    shift = int(content["n"])
    table = str.maketrans(alphabet, alphabet[shift:] + alphabet[:shift])
    return content["letters"].translate(table)


def by_counting(content: Content) -> str:
    counts = Counter(content["letters"].split())
    return " ".join(letter for letter in sorted(counts) for _ in range(counts[letter]))


def by_elimination(content: Content) -> str:
    words = content["words"].split()
    (odd,) = (
        word
        for word in words
        if any({*words} - {word} <= {*kind} and word not in kind for kind in KINDS.values())
    )
    return odd


def ends_swapped(content: Content) -> str:
    letters = content["letters"]
    return letters[-1] + letters[1:-1] + letters[0]


INDEPENDENT: dict[str, Callable[[Content], str]] = {
    "parity": lambda c: ["even", "odd"][int(c["number"]) % 2],
    "first or last letter": lambda c: c["letters"].split()[{"first": 0, "last": -1}[c["end"]]],
    "copy": lambda c: c["letters"],
    "latest letter": by_counting,  # its last letter: see the test
    "nth letter": lambda c: c["letters"][2 * (int(c["n"]) - 1)],
    "largest or smallest digit": lambda c: sorted(
        c["digits"].split(), reverse=c["extreme"] == "largest"
    )[0],
    "odd one out": by_elimination,
    "reverse": lambda c: c["letters"][::-1],
    "boolean": by_eval,
    "rotate": by_deque,
    "count objects": lambda c: str(len({*c["words"].split()} & {*KINDS[c["kind"]]})),
    "sort letters": by_counting,
    "web of lies": by_trying_all_liars,
    "swap ends": ends_swapped,
    "add": lambda c: str(eval(c["sum"])),
    "double letters": lambda c: re.sub("([a-z])", r"\1 \1", c["letters"]),
    "replace": lambda c: re.sub(c["old"], c["new"], c["letters"]),
    "who is tallest": by_trying_all_orders,
    "caesar": by_translation,
    "tracking swaps": by_walking_back,
}
INDEPENDENT["latest letter"] = lambda c: by_counting(c)[-1]


@each_family
def test_answers_agree_with_an_independent_solver(family: Family) -> None:
    contents = sample(family, 100)
    assert contents
    for content in contents:
        task = solve(family.wordings[0].write(content))
        assert task is not None
        assert task.answer == INDEPENDENT[family.name](content), task


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Is 4730 odd or even", "even"),
        ("reverse c a f b letter by letter", "b f a c"),
        ("caesar code x y z with key 3", "a b c"),
        ("rotate a b c d to the right by 1", "d a b c"),
        ("what does true or true and false evaluate to?", "true"),
        ("how much does 95 + 7 make?", "102"),
        ("which of cat red dog is the odd one out?", "red"),
        ("if Ann lies, Bob says Ann lies, does Bob lie?", "no"),
        ("if Bob is shorter than Ann, Bob is taller than Cid, who is tallest?", "Ann"),
        ("if Ann has c, Bob has a, Ann and Bob swap, what does Ann have?", "a"),
    ],
)
def test_worked_examples(text: str, answer: str) -> None:
    task = solve(text)
    assert task is not None
    assert task.answer == answer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "what is the capital of France?",
        "in a b c what is letter 4?",
        "in a b c what is letter 0?",
        "which of cat red is the odd one out?",
        "which of cat dog pig is the odd one out?",
        "which of cat dog stone is the odd one out?",
        "how many of cat stone are animals?",
        "if Ann says Bob lies, does Ann lie?",
        "if Ann lies, Ann tells the truth, does Ann lie?",
        "if Ann lies, does Bob lie?",
        "if Ann lies, Bob says Ann sings, does Bob lie?",
        "if Ann is taller than Bob, Dan is taller than Bob, who is tallest?",
        "if Ann is taller than Bob, Bob is taller than Ann, who is tallest?",
        "if Ann is kinder than Bob, who is tallest?",
        "if Ann has c, Ann and Bob swap, what does Ann have?",
        "if Ann has c, what does Bob have?",
        "reverse " + "a " * 300 + "letter by letter",
    ],
)
def test_what_has_not_exactly_one_answer_is_not_understood(text: str) -> None:
    assert solve(text) is None


# Pools and exams


@each_family
def test_every_family_has_items_enough_on_both_sides(family: Family) -> None:
    random = Random(family.name)
    kept: set[str] = set()
    held: set[str] = set()
    for _ in range(8000):
        level = random.choices(LEVELS, LEVEL_WEIGHTS)[0]
        key = family.key(family.content(random, level))
        (held if held_out(key) else kept).add(key)
    assert len(held) >= 100
    assert len(kept) >= 2000
    assert 1 / 8 < len(held) / (len(held) + len(kept)) < 1 / 4.5


def test_a_pool_has_no_instruction_twice_and_no_held_out_item() -> None:
    tasks = pool(4000, random_seed=3, skew=1.3)
    assert len({task.instruction for task in tasks}) == 4000
    assert not any(held_out(task.key) for task in tasks)


def test_an_exam_is_held_out_balanced_and_without_content_twice() -> None:
    tasks = exam(410, random_seed=3)
    assert len({task.key for task in tasks}) == 410
    assert all(held_out(task.key) for task in tasks)
    counts = Counter(task.family for task in tasks)
    assert set(counts) == set(FAMILY_NAMED)
    assert set(counts.values()) == {20, 21}


def test_draws_follow_their_seed_alone() -> None:
    assert pool(200, random_seed=5, skew=1.0) == pool(200, random_seed=5, skew=1.0)
    assert pool(200, random_seed=5, skew=1.0) != pool(200, random_seed=6, skew=1.0)
    assert exam(100, random_seed=5) == exam(100, random_seed=5)
    assert exam(100, random_seed=5) != exam(100, random_seed=6)


@pytest.mark.parametrize("skew", [0.0, 1.3])
def test_families_are_drawn_by_rank_and_levels_at_their_shares(skew: float) -> None:
    tasks = pool(6000, random_seed=1, skew=skew)
    weights = {family.name: 1 / family.rank**skew for family in FAMILIES}
    counts = Counter(task.family for task in tasks)
    for name, weight in weights.items():
        expected = 6000 * weight / sum(weights.values())
        assert abs(counts[name] - expected) < 4.5 * expected**0.5
    levels = Counter(task.level for task in tasks)
    for level, share in zip(LEVELS, LEVEL_WEIGHTS, strict=True):
        assert levels[level] / 6000 == pytest.approx(share, abs=0.03)


def test_no_question_stands_within_another_of_other_content() -> None:
    def words(task: Task) -> str:
        return f" {' '.join(re.findall(r'[a-z0-9]+', task.instruction.lower()))} "

    questions = [(task.key, words(task)) for task in exam(400, random_seed=0)]
    others = [(task.key, words(task)) for task in pool(4000, random_seed=0, skew=0.5)] + questions
    for key, question in questions:
        assert all(question not in other for another, other in others if another != key)


def test_a_family_without_new_tasks_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_families, "_TRIES", 1)
    with pytest.raises(DataError, match=r"`parity` has no more new tasks.*seed\.size"):
        pool(4000, random_seed=0, skew=50.0)
