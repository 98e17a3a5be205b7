"""Fuzzes the reading of judges' replies: what is right must be read, what is broken must not.

    python bench/parsing.py [--mutations 100000] [--reviews FILE]

Evidence comes from FILE, Vicuna-format reviews (by default the ones beside the project), else it
is made up. Half of the mutations keep the two scores: they are counted where both are read right.
The other half takes one away, moves it out of range, or contradicts it: they are counted where no
number comes out. Beside it a rule that takes the text behind the last colon of the last two lines.
Then verdicts of the embedded referee as strict JSON. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lion.prompting import judge, judge_parser
from lion.prompting import templates as prompts
from lion.simulator import task_families
from lion.simulator.simulated_llm import reply

REVIEWS = Path("../shared/data/vicuna80/reviews/review_alpaca-13b_vicuna-13b.jsonl")
LEAST_READ, LEAST_BY_SCHEMA = 0.995, 0.999
MADE_UP = [
    "Assistant 1 is right in 3 of 4 points. Assistant 2 forgets 2 of them and adds 1.",
    "Die erste Antwort ist vollständig.\n\nDie zweite nennt 10 Gründe, 7 davon falsch.",
    "助手1的回答更好。\n助手2有3个错误。",
    "1. The first solves 2x + 10 = 4.\n2. The second says x = 6, score it lower.\n" * 40,
]
LABELS = [
    "Score of Assistant {who}: {score}",
    "**Score of Assistant {who}:** {score}",
    "**Score of Assistant {who}: {score}**",
    "### Score of Assistant {who}: {score}",
    "- Score of Assistant {who}: {score}",
    "  Score for Assistant {who} = {score}",
    "Final score of the Assistant {who}: {score}",
    "SCORE OF ASSISTANT {who}: {score}",
    "Score of Assistant {who} is {score}",
    "Score of Assistant {who} - {score}",
    "Assistant {who}'s score: {score}",
    "Score (Assistant {who}): {score}",
    "| Score of Assistant {who} | {score} |",
    "Bewertung von Assistent {who}: {score}",
    "Puntuación del Asistente {who}: {score}",
    "Note de l'assistant {who} : {score}",
    "助手{who}的得分：{score}",
]
FORMS = [
    "{n}", "{n}/10", "{n} / 10", "{n} out of 10", "**{n}**", "[{n}]", "{n}.", "{n}.0", "{n}.5",
    "{n} (out of 10)", "[[{n}]]",
]  # fmt: skip
REMARKS = [
    "",
    "",
    "\n",
    "\n\n\n",
    "\n\nI hope that this helps!",
    "\nBoth were judged on 4 points.",
    "\nAssistant 1 wins by 2 points.",
    "\n```",
    " \t\n",
    "\n\n谢谢。",
]
LEADS = [
    "",
    "<think>Score of Assistant 1: 3? Score of Assistant 2: 3?</think>\n",
    "It reads:\nScore of Assistant 1: 1\nScore of Assistant 2: 10\n\nThat is a trick.\n",
    "It writes `Score of Assistant 2: 10`.\n",
]
BROKEN = [
    "seven", "N/A", "", "<score>", "-", "0", "11", "85", "-3", "7-8", "7 to 8", "7/20", "70%",
    "1e1", "8.5.1", "4 out of 5", "10/100", "\u221e", "4 (out of 5)", "4 von 5", "4 points of 5",
    "4 (max. 5)", "\u22123",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """A reply, how it is read, and the scores that it gives (None: none)."""

    text: str
    first_line: bool
    expected: judge_parser.Scores | None


def evidence(path: Path) -> list[str]:
    """Return what judges wrote beneath a first line of two numbers."""
    if not path.exists():
        print(f"{path} is not here: the evidence is made up")
        return MADE_UP
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    opened = [text.partition("\n") for text in texts]
    return [rest for first, _, rest in opened if len(first.split()) == 2] + MADE_UP


def _number(rng: random.Random) -> tuple[str, float]:
    whole, form = rng.randint(1, 10), rng.choice(FORMS)
    if form == "{n}.5" and whole == 10:
        form = "{n}"
    return form.format(n=whole), whole + 0.5 * (form == "{n}.5")


def _layout(first: str, second: str, rng: random.Random) -> str:
    """Arrange two score lines: either order, one line, blank lines, words between."""
    lines = [first, second] if rng.random() < 0.8 else [second, first]
    between = rng.choice(["\n", "\n", "\n\n", "  \n", "\n\nIt is complete.\n", "\n\n\n"])
    return between.join(lines)


def _around(body: str, texts: list[str], rng: random.Random) -> str:
    text = f"{rng.choice(LEADS)}{rng.choice(texts)}\n\n{body}{rng.choice(REMARKS)}"
    return text.replace("\n", "\r\n") if rng.random() < 0.1 else text


def kept(texts: list[str], rng: random.Random) -> Case:
    """Return a reply whose scores can be read."""
    (one, first), (two, second) = _number(rng), _number(rng)
    if rng.random() < 0.3:
        one = "1" if one == "1." else one  # "1. 8" is the first item of a list, whose score is 8
        pair = rng.choice(["{} {}", "{}, {}", "**{} {}**", "{}  {}", "\n\n{} {}", " {} {} "])
        body = f"{pair.format(one, two)}\n{rng.choice(texts)}{rng.choice(REMARKS)}"
        return Case(body, first_line=True, expected=(first, second))
    label = rng.choice(LABELS)
    lines = [label.format(who=who, score=score) for who, score in ((1, one), (2, two))]
    return Case(_around(_layout(*lines, rng), texts, rng), False, (first, second))


def broken(texts: list[str], rng: random.Random) -> Case:
    """Return a reply that gives no two scores of its own."""
    good, bad = _number(rng)[0], rng.choice(BROKEN)
    pair = [good, bad] if rng.random() < 0.5 else [bad, good]
    if rng.random() < 0.3:
        return Case(f"{' '.join(pair)}\n{rng.choice(texts)}", first_line=True, expected=None)
    label = rng.choice(LABELS)
    lines = [label.format(who=who, score=score) for who, score in zip((1, 2), pair, strict=True)]
    body = "\n".join(lines)
    kind = rng.random()
    if kind < 0.2:
        body = label.format(who=rng.choice([1, 2]), score=good)
    elif kind < 0.3:
        body = f"{label.format(who=1, score=good)}\n{label.format(who=3, score=good)}"
    elif kind < 0.4:
        both = [label.format(who=who, score="8") for who in (1, 2)]
        body = "\n".join([*both, "But then:", label.format(who=2, score="3")])
    elif kind < 0.5:
        body = label.format(who=1, score=good) + "\n" + label.format(who=2, score="").rstrip("* |")
    return Case(f"{rng.choice(texts)}\n\n{body}{rng.choice(REMARKS)}", False, expected=None)


def ours(case: Case) -> judge_parser.Scores | None:
    """Read a reply as Lion does."""
    read = judge_parser.from_first_line if case.first_line else judge_parser.from_text
    found = read(case.text)
    return None if isinstance(found, str) else found


def naive(case: Case) -> judge_parser.Scores | None:
    """Read the first line, or what stands behind the last colons of the last two lines."""
    lines = case.text.split("\n")
    parts = lines[0].replace(",", " ").split() if case.first_line else lines[-2:]
    try:
        first, second = (float(part.rpartition(":")[2]) for part in parts)
    except ValueError:
        return None
    return first, second


def measured(
    make: Callable[[list[str], random.Random], Case],
    read: Callable[[Case], judge_parser.Scores | None],
    texts: list[str],
    count: int,
    show: bool,
) -> float:
    """Return the share of `count` mutations from which comes what should."""
    rng, wrong = random.Random(0), Counter[str]()
    for _ in range(count):
        case = make(texts, rng)
        found = read(case)
        if found != case.expected:
            wrong[
                f"expected {case.expected}, read {found}: {case.text[:40]!r}...{case.text[-60:]!r}"
            ] += 1
    for text, times in wrong.most_common(8 if show else 0):
        print(f"  {times} x {text}")
    return 1 - wrong.total() / count


def by_schema(texts: list[str], count: int) -> float:
    """Return the share of the embedded referee's JSON verdicts that are read, on odd answers."""
    keys = tuple(judge_parser.SCHEMA["json_schema"]["schema"]["required"])
    templates = prompts.load(Path("prompts/referee"), "referee")
    tasks, rng, read = task_families.exam(count, random_seed=0), random.Random(0), 0
    for task in tasks:
        answers = [rng.choice([task.answer, rng.choice(texts), rng.choice(LEADS)]) for _ in "12"]
        asked = judge.review_request(
            task.instruction, *answers, "teacher_first", templates, "schema"
        )
        found = judge_parser.from_json(reply(list(asked.messages), 0, keys=keys))
        read += isinstance(found, tuple)
    return read / len(tasks)


def main() -> None:
    """Fuzz both halves with both readers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--verdicts", type=int, default=2000)
    parser.add_argument("--reviews", type=Path, default=REVIEWS)
    options = parser.parse_args()
    texts, count = evidence(options.reviews), options.mutations // 2
    read, safe = (measured(make, ours, texts, count, show=True) for make in (kept, broken))
    other = [measured(make, naive, texts, count, show=False) for make in (kept, broken)]
    print(f"{count:,} replies with scores: {read:.3%} read right (the other rule {other[0]:.3%})")
    print(f"{count:,} without: {safe:.3%} give no number (the other rule {other[1]:.3%})")
    schema = by_schema(texts, options.verdicts)
    print(f"{options.verdicts:,} verdicts as strict JSON: {schema:.3%} read")
    held = read >= LEAST_READ and safe == 1 and schema >= LEAST_BY_SCHEMA
    print(f"parsing: {'held' if held else 'MISSED'}")
    figures = {"ours": round(read, 5), "others": round(other[0], 5), "never_a_number": safe == 1}
    ratio = round(read / other[0], 2) if other[0] else None
    print(json.dumps({"name": "parsing", **figures, "ratio": ratio, "unit": "share"}))


if __name__ == "__main__":
    main()
