"""The twenty puzzles of the task families: drawing their content, and solving it.

A content is a small mapping from field to text ("letters": "c a f"). `phrasing` has the wordings,
`task_families` the frequencies and the held-out share. A solver returns None for a content without
exactly one answer.

The symbol sets are small, so a student of half a million parameters sees each symbol often enough
to learn it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from random import Random

Content = dict[str, str]
Solver = Callable[[Content], str | None]

LETTERS = "abcdefghijkl"
NAMES = ("Ann", "Bob", "Cid", "Dan", "Eve", "Fay", "Gus", "Hal")
KINDS = {
    "animals": ("cat", "dog", "cow", "hen", "pig", "fox"),
    "fruits": ("fig", "pear", "kiwi", "apple", "mango", "grape"),
    "colors": ("red", "blue", "pink", "gray", "green", "black"),
    "clothes": ("hat", "cap", "coat", "sock", "shoe", "shirt"),
    "tools": ("axe", "saw", "hoe", "rake", "drill", "spade"),
    "vehicles": ("car", "bus", "van", "bike", "ship", "train"),
}
KIND_OF = {word: kind for kind, words in KINDS.items() for word in words}

HONEST = {"tells the truth": True, "lies": False}
CLAIMS = {"tell the truth": True, "lie": False}


@dataclass(frozen=True, slots=True)
class Puzzle:
    """Functions that draw a content of a given size, measure one, and solve one.

    Level 1 has the size `smallest`; each level adds 1.
    """

    smallest: int
    draw: Callable[[Random, int], Content]
    size: Callable[[Content], int]
    solve: Solver


# Drawing


def _letters(random: Random, size: int) -> str:
    return " ".join(random.choices(LETTERS, k=size))


def _draw_number(random: Random, size: int) -> Content:
    return {"number": str(random.randrange(10 ** (size - 1), 10**size))}


def _draw_letters(random: Random, size: int) -> Content:
    return {"letters": _letters(random, size)}


def _draw_distinct_letters(random: Random, size: int) -> Content:
    return {"letters": " ".join(random.sample(LETTERS, k=size))}


def _draw_end(random: Random, size: int) -> Content:
    return {"letters": _letters(random, size), "end": random.choice(("first", "last"))}


def _draw_place(random: Random, size: int) -> Content:
    return {"letters": _letters(random, size), "n": str(random.randint(1, size))}


def _draw_digits(random: Random, size: int) -> Content:
    digits = " ".join(random.choices("0123456789", k=size))
    return {"digits": digits, "extreme": random.choice(("largest", "smallest"))}


def _draw_odd_one_out(random: Random, size: int) -> Content:
    common, other = random.sample(list(KINDS), k=2)
    words = [*random.sample(KINDS[common], k=size - 1), random.choice(KINDS[other])]
    random.shuffle(words)
    return {"words": " ".join(words)}


def _draw_expression(random: Random, size: int) -> Content:
    terms = random.choices(("true", "false", "not true", "not false"), k=size)
    joints = random.choices(("and", "or"), k=size - 1)
    rest = (f" {joint} {term}" for joint, term in zip(joints, terms[1:], strict=True))
    return {"expression": terms[0] + "".join(rest)}


def _draw_rotation(random: Random, size: int) -> Content:
    side = random.choice(("left", "right"))
    return {"letters": _letters(random, size), "side": side, "n": random.choice("12")}


def _draw_count(random: Random, size: int) -> Content:
    kind = random.choice(list(KINDS))
    others = [word for word, other in KIND_OF.items() if other != kind]
    # Uniform over the counts: with independent words most answers would be 0 or 1.
    count = random.randrange(size)
    words = random.sample(KINDS[kind], k=count) + random.sample(others, k=size - count)
    random.shuffle(words)
    return {"kind": kind, "words": " ".join(words)}


def _draw_lies(random: Random, size: int) -> Content:
    names = random.sample(NAMES, k=size)
    says = random.choices(list(HONEST), k=size)
    clauses = [f"{names[0]} {says[0]}"]
    for (subject, speaker), what in zip(pairwise(names), says[1:], strict=True):
        clauses.append(f"{speaker} says {subject} {what}")
    claim = random.choice(list(CLAIMS))
    return {"story": ", ".join(clauses), "name": names[-1], "claim": claim}


def _draw_sum(random: Random, size: int) -> Content:
    widths = [2, size - 2]
    random.shuffle(widths)
    return {"sum": " + ".join(_draw_number(random, width)["number"] for width in widths)}


def _draw_replacement(random: Random, size: int) -> Content:
    letters = _letters(random, size)
    old = random.choice(letters.split())
    new = random.choice([letter for letter in LETTERS if letter != old])
    return {"letters": letters, "old": old, "new": new}


def _draw_heights(random: Random, size: int) -> Content:
    names = random.sample(NAMES, k=size + 1)
    clauses = []
    for upper, lower in pairwise(names):
        above = random.random() < 0.5
        clauses.append(
            f"{upper} is taller than {lower}" if above else f"{lower} is shorter than {upper}"
        )
    random.shuffle(clauses)
    return {"story": ", ".join(clauses)}


def _draw_caesar(random: Random, size: int) -> Content:
    return {"letters": _letters(random, size), "n": random.choice("123")}


def _draw_swaps(random: Random, size: int) -> Content:
    names = random.sample(NAMES, k=3)
    held = random.sample(LETTERS, k=3)
    clauses = [f"{name} has {letter}" for name, letter in zip(names, held, strict=True)]
    clauses += [" and ".join(random.sample(names, k=2)) + " swap" for _ in range(size)]
    return {"story": ", ".join(clauses), "name": random.choice(names)}


# Measuring


def _count_of(field: str) -> Callable[[Content], int]:
    """Return a measure: the number of blank-separated symbols in `field`."""
    return lambda content: len(content[field].split())


def _figures(content: Content) -> int:
    return sum(character.isdigit() for character in next(iter(content.values())))


def _terms(content: Content) -> int:
    return len(re.findall("true|false", content["expression"]))


def _clauses(content: Content) -> int:
    return len(content["story"].split(", "))


def _swaps(content: Content) -> int:
    return sum(clause.endswith(" swap") for clause in content["story"].split(", "))


# Solving


def _on_letters(change: Callable[[list[str]], Sequence[str]]) -> Solver:
    """Return a solver that rewrites the list of letters."""
    return lambda content: " ".join(change(content["letters"].split()))


def _solve_parity(content: Content) -> str:
    return "odd" if content["number"][-1] in "13579" else "even"


def _solve_end(content: Content) -> str:
    return content["letters"][0 if content["end"] == "first" else -1]


def _solve_latest(content: Content) -> str:
    return max(content["letters"].split())


def _solve_place(content: Content) -> str | None:
    letters, place = content["letters"].split(), int(content["n"])
    return letters[place - 1] if 1 <= place <= len(letters) else None


def _solve_digits(content: Content) -> str:
    pick = max if content["extreme"] == "largest" else min
    return pick(content["digits"].split())


def _solve_odd_one_out(content: Content) -> str | None:
    words = content["words"].split()
    kinds = [KIND_OF.get(word) for word in words]
    lonely = [word for word, kind in zip(words, kinds, strict=True) if kinds.count(kind) == 1]
    clear = len(words) > 2 and None not in kinds and len(set(kinds)) == 2 and len(lonely) == 1
    return lonely[0] if clear else None


def _solve_expression(content: Content) -> str:
    """Solve with the usual precedence: not, then and, then or."""
    value = any(
        all(term in ("true", "not false") for term in conjunction.split(" and "))
        for conjunction in content["expression"].split(" or ")
    )
    return "true" if value else "false"


def _solve_rotation(content: Content) -> str:
    letters = content["letters"].split()
    step = int(content["n"]) % len(letters)
    cut = step if content["side"] == "left" else len(letters) - step
    return " ".join(letters[cut:] + letters[:cut])


def _solve_count(content: Content) -> str | None:
    kinds = [KIND_OF.get(word) for word in content["words"].split()]
    return None if None in kinds else str(kinds.count(content["kind"]))


def _solve_lies(content: Content) -> str | None:
    honest: dict[str, bool] = {}
    for clause in content["story"].split(", "):
        match = re.fullmatch(r"(\w+) (?:says (\w+) )?(lies|tells the truth)", clause)
        if not match or match[1] in honest:
            return None
        speaker, subject, what = match.groups()
        if subject is None:
            honest[speaker] = HONEST[what]
        elif subject in honest:
            honest[speaker] = honest[subject] == HONEST[what]
        else:
            return None
    if content["name"] not in honest:
        return None
    return "yes" if honest[content["name"]] == CLAIMS[content["claim"]] else "no"


def _solve_sum(content: Content) -> str:
    return str(sum(int(number) for number in content["sum"].split(" + ")))


def _solve_replacement(content: Content) -> str:
    return content["letters"].replace(content["old"], content["new"])


def _solve_heights(content: Content) -> str | None:
    above: dict[str, set[str]] = {}
    for clause in content["story"].split(", "):
        match = re.fullmatch(r"(\w+) is (taller|shorter) than (\w+)", clause)
        if not match:
            return None
        first, relation, second = match.groups()
        upper, lower = (first, second) if relation == "taller" else (second, first)
        above.setdefault(upper, set())
        above.setdefault(lower, set()).add(upper)
    try:
        TopologicalSorter(above).prepare()
    except CycleError:
        return None
    # Without a cycle, a single maximum is the tallest of all.
    tops = [name for name, taller in above.items() if not taller]
    return tops[0] if len(tops) == 1 else None


def _solve_caesar(content: Content) -> str:
    shift = int(content["n"])
    letters = content["letters"].split()
    return " ".join(chr((ord(letter) - ord("a") + shift) % 26 + ord("a")) for letter in letters)


def _solve_swaps(content: Content) -> str | None:
    holds: dict[str, str] = {}
    for clause in content["story"].split(", "):
        if has := re.fullmatch(r"(\w+) has (\w+)", clause):
            holds[has[1]] = has[2]
            continue
        swap = re.fullmatch(r"(\w+) and (\w+) swap", clause)
        if swap is None or not set(swap.groups()) <= holds.keys():
            return None
        holds[swap[1]], holds[swap[2]] = holds[swap[2]], holds[swap[1]]
    return holds.get(content["name"])


_BY_LETTERS = _count_of("letters")
_BY_WORDS = _count_of("words")

PUZZLES = {
    "parity": Puzzle(4, _draw_number, _figures, _solve_parity),
    "first or last letter": Puzzle(4, _draw_end, _BY_LETTERS, _solve_end),
    "copy": Puzzle(4, _draw_letters, _BY_LETTERS, _on_letters(list)),
    "latest letter": Puzzle(3, _draw_distinct_letters, _BY_LETTERS, _solve_latest),
    "nth letter": Puzzle(4, _draw_place, _BY_LETTERS, _solve_place),
    "largest or smallest digit": Puzzle(3, _draw_digits, _count_of("digits"), _solve_digits),
    "odd one out": Puzzle(3, _draw_odd_one_out, _BY_WORDS, _solve_odd_one_out),
    "reverse": Puzzle(3, _draw_letters, _BY_LETTERS, _on_letters(lambda row: row[::-1])),
    "boolean": Puzzle(3, _draw_expression, _terms, _solve_expression),
    "rotate": Puzzle(3, _draw_rotation, _BY_LETTERS, _solve_rotation),
    "count objects": Puzzle(4, _draw_count, _BY_WORDS, _solve_count),
    "sort letters": Puzzle(3, _draw_letters, _BY_LETTERS, _on_letters(sorted)),
    "web of lies": Puzzle(2, _draw_lies, _clauses, _solve_lies),
    "swap ends": Puzzle(
        3, _draw_letters, _BY_LETTERS, _on_letters(lambda row: [row[-1], *row[1:-1], row[0]])
    ),
    "add": Puzzle(3, _draw_sum, _figures, _solve_sum),
    "double letters": Puzzle(
        3, _draw_letters, _BY_LETTERS, _on_letters(lambda row: [x for x in row for _ in "12"])
    ),
    "replace": Puzzle(3, _draw_replacement, _BY_LETTERS, _solve_replacement),
    "who is tallest": Puzzle(2, _draw_heights, _clauses, _solve_heights),
    "caesar": Puzzle(3, _draw_caesar, _BY_LETTERS, _solve_caesar),
    "tracking swaps": Puzzle(1, _draw_swaps, _swaps, _solve_swaps),
}
