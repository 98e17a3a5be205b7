"""Pools as files for tests of what reads them: rows as the stages write them. Claims nothing."""

import random
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from lion.records import jsonl
from lion.records.rows import Answer, Instruction, Kind, Review, TeacherAnswer, Verdict

WORDS = ["river", "stone", "cloud", "fire", "leaf", "night", "bread", "glass", "wheel", "song"]
DOMAINS = ("writing", "code", None)


def instruction(
    text: str,
    iteration: str = "0",
    *,
    origin: Kind | None = None,
    parent: str | None = None,
    domain: str | None = None,
    category: str | None = None,
    answer: str | None = "an answer",
) -> Instruction:
    """Return a row of a Cache Pool."""
    made = Instruction.new(
        [{"role": "user", "content": text}],
        origin=origin or "seed",
        iteration=iteration,
        parent=parent,
        category=category,
    )
    taught = None if answer is None else TeacherAnswer(answer, "stop", "oracle-1")
    return replace(made, domain=domain, answer=taught)


def drawn(rng: random.Random, count: int) -> list[Instruction]:
    """Return a pool: seeds, then rows that each come from one of them."""
    seeds = [
        instruction(
            f"{' '.join(rng.choices(WORDS, k=6))} {number}",
            domain=rng.choice(DOMAINS),
            category=rng.choice(["add", "copy"]),
            answer=" ".join(rng.choices(WORDS, k=rng.randint(1, 9))),
        )
        for number in range(count)
    ]
    return seeds + [
        instruction(
            f"{' '.join(rng.choices(WORDS, k=6))} {number} again",
            rng.choice("12"),
            origin=rng.choice(["hard", "easy"]),
            parent=rng.choice(seeds).id,
            domain=rng.choice(DOMAINS),
        )
        for number in range(count)
    ]


def verdict(identity: str, gap: float | None) -> Verdict:
    """Return a verdict: hard from 1.0 up, undecided without a gap."""
    if gap is None:
        return Verdict(identity, None, None, None, "undecided", "truncated")
    kind: Kind = "hard" if gap >= 1 else "easy"
    return Verdict(identity, 9.0, 9.0 - gap, gap, kind, None)


def project(
    root: Path,
    iteration: str,
    pool: Sequence[Instruction],
    verdicts: Sequence[Verdict] = (),
    responses: Sequence[Answer] = (),
    reviews: Sequence[Review] = (),
) -> None:
    """Write an iteration's files, and a params.yaml with the iterations 1 and 2."""
    folder = root / "data" / iteration
    folder.mkdir(parents=True, exist_ok=True)
    jsonl.write(folder / "cache_pool.jsonl", pool)
    jsonl.write(folder / "verdicts.jsonl", verdicts)
    jsonl.write(folder / "responses.jsonl", responses)
    jsonl.write(folder / "reviews.jsonl", reviews)
    (root / "params.yaml").write_text(
        'iterations:\n  "1": {previous: "0"}\n  "2": {previous: "1"}\n', encoding="utf-8"
    )
