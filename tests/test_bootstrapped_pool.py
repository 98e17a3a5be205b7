"""What is shown, what is kept, and in which balance."""

import random
from typing import Any

import pytest
from fixtures import Configure

from lion.config.settings import BootstrapSettings, Decontaminate
from lion.generation.bootstrap import BootstrappedPool, BootstrappedTask
from lion.generation.filters import decontamination
from lion.generation.filters.quality import RejectReason
from lion.generation.rounds import CandidateFilter
from lion.prompting.generator import TASK_KINDS, TaskKind
from lion.records import jsonl
from lion.records.rows import Dropped, Instruction, Message

ENTRY: dict[str, Any] = {
    "seeds": ["seeds/seeds.jsonl"],
    "size": 40,
    "classification": 0.25,
    "per_call": 4,
    "from_seeds": 3,
    "from_made": 2,
    "requests_per_round": 8,
    "generate": {"novelty": 0.7},
}


def task(number: int, kind: TaskKind = "open", turns: int = 1) -> BootstrappedTask:
    messages: list[Message] = [{"role": "user", "content": f"Seed {number} about {number * 7}"}]
    if turns > 1:
        messages.insert(0, {"role": "system", "content": "Be brief."})
    made = Instruction.new(messages, origin="seed", iteration="0")
    return BootstrappedTask(made.id, made.messages, kind == "classification")


def seeds(labelled: int, open_: int) -> list[BootstrappedTask]:
    kinds: list[TaskKind] = ["classification"] * labelled + ["open"] * open_
    return [task(number, kind) for number, kind in enumerate(kinds)]


@pytest.fixture
def pool(configure: Configure) -> Any:
    def made(given: list[BootstrappedTask], exam: str = "", **changes: Any) -> BootstrappedPool:
        settings = configure({"bootstrap": {"0": {**ENTRY, **changes}}})
        rows = [
            Instruction.new([{"role": "user", "content": exam}], origin="exam", iteration="0")
            for _ in range(bool(exam))
        ]
        guard = decontamination.guard(rows, Decontaminate(whole=True, ngram=None, against=[]))
        return BootstrappedPool(
            settings.bootstrap["0"],
            given,
            CandidateFilter(settings.bootstrap_filters("0"), settings.quality, guard),
            {kind: random.Random(3) for kind in TASK_KINDS},
        )

    return made


def reasons(pool: BootstrappedPool) -> list[str]:
    return [row.reason for row in pool.dropped]


@pytest.mark.parametrize(
    ("labelled", "open_", "wanted"),
    [
        (2, 8, (8, 22)),
        (0, 5, (10, 25)),
        (15, 0, (0, 25)),  # more seeds than its share: the size stands, nothing is thrown away
        (4, 32, (4, 0)),
        (10, 30, (0, 0)),
    ],
)
def test_seeds_count_towards_size_and_balance(
    pool: Any, labelled: int, open_: int, wanted: tuple[int, int]
) -> None:
    made = pool(seeds(labelled, open_))
    assert (made.wanted("classification"), made.wanted("open")) == wanted


def test_a_round_asks_for_each_kind_by_what_it_lacks(pool: Any) -> None:
    draws = pool(seeds(2, 8), size=400).choose([])
    kinds = [draw.kind for draw in draws]
    assert len(draws) <= ENTRY["requests_per_round"] + 1
    assert 0 < kinds.count("classification") < kinds.count("open")
    assert len({(draw.kind, draw.sample) for draw in draws}) == len(draws)


def test_the_last_round_asks_for_little_more_than_is_wanted(pool: Any) -> None:
    made = pool(seeds(10, 27), requests_per_round=100)
    assert [draw.kind for draw in made.choose([])] == ["open"]


def test_a_dry_kind_is_asked_for_no_more(pool: Any) -> None:
    assert {draw.kind for draw in pool(seeds(2, 8)).choose(["open"])} == {"classification"}
    assert pool(seeds(2, 8)).choose(["open", "classification"]) == []


def test_examples_are_of_the_kind_asked_for(pool: Any) -> None:
    for draw in pool(seeds(5, 9)).choose([]):
        assert {example.kind for example in draw.source} == {draw.kind}
        assert len({example.id for example in draw.source}) == 3


def test_where_no_seed_is_of_a_kind_the_others_stand_in(pool: Any) -> None:
    draws = pool(seeds(0, 2)).choose(["open"])
    assert draws
    assert all(len(draw.source) == 2 for draw in draws)


def test_conversations_are_kept_and_not_shown(pool: Any) -> None:
    talk = task(99, turns=2)
    made = pool([*seeds(2, 4), talk], requests_per_round=50, size=400)
    assert all(talk not in draw.source for draw in made.choose([]))
    assert made.choose(["classification"])


def test_what_was_made_is_shown_in_later_rounds(pool: Any) -> None:
    made = pool(seeds(0, 5), classification=0.0)
    first = made.choose([])
    assert all(len(draw.source) == 3 for draw in first)
    made.add_reply(first[0], ["Describe a lake at night, please", "Count to ten in Welsh and back"])
    shown = {example.id for draw in made.choose([]) for example in draw.source}
    assert {row.id for row in made.kept} <= shown
    assert all(len(draw.source) == 5 for draw in made.choose([]))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Seed 1 about 7", "duplicate"),
        ("Seed 1 about 7, please", "not_novel"),
        ("Answer this: how many moons has the planet Mars?", "contaminated"),
        ("half \ud800 of a pair, and more", "malformed"),
        ("Describe a bell \x07 that rings at noon", "control"),
        ("Tell me what CafÃ© and naÃ¯ve mean in French", "mojibake"),
    ],
)
def test_what_is_not_kept_has_its_reason(pool: Any, text: str, reason: str) -> None:
    made = pool(seeds(0, 5), exam="How many moons has the planet Mars?")
    draw = made.choose([])[0]
    assert made.add_reply(draw, [text]) == 0
    assert reasons(made) == [reason]
    assert made.funnel[draw.kind] == {"asked": 1, reason: 1}


def test_a_task_that_is_withdrawn_is_counted_and_made_again(pool: Any) -> None:
    made = pool(seeds(2, 8))
    draw = made.choose([])[0]
    wanted = made.wanted(draw.kind)
    texts = ["Describe a lake at night, please", "Count to ten in Welsh and back"]
    assert made.add_reply(draw, texts) == 2
    first, second = made.kept
    made.remove({first.id: RejectReason("unsafe", "Unsafe.")})
    assert (made.kept, made.wanted(draw.kind)) == ([second], wanted - 1)
    assert made.funnel[draw.kind] == {"asked": 2, "kept": 1, "unsafe": 1}
    assert [(row.reason, row.id, row.detail) for row in made.dropped] == [
        ("unsafe", first.id, "Unsafe.")
    ]
    assert made.add_reply(draw, texts[:1]) == 0


def test_new_tasks_are_new_against_each_other_whatever_their_kind(pool: Any) -> None:
    made = pool(seeds(2, 8))
    draws = {draw.kind: draw for draw in made.choose([])}
    text = "Is this letter friendly or cold? Thank you for nothing at all."
    assert made.add_reply(draws["open"], [text]) == 1
    assert made.add_reply(draws["classification"], [f"{text} Bye."]) == 0
    assert reasons(made) == ["not_novel"]


def test_what_is_more_than_wanted_is_surplus_and_counted(pool: Any) -> None:
    made = pool(seeds(10, 29))
    (draw,) = made.choose([])
    assert made.add_reply(draw, ["Describe a lake at night, please", "Count to ten in Welsh"]) == 1
    assert reasons(made) == ["surplus"]
    assert made.choose([]) == []


def test_a_made_row_tells_what_was_shown(pool: Any) -> None:
    made = pool(seeds(2, 8))
    draw = made.choose(["classification"])[0]
    made.add_reply(draw, ["Describe a lake at night, please", Dropped("bootstrap", "too_short")])
    row = jsonl.as_row(made.kept[0])
    assert row["examples"] == [example.id for example in draw.source]
    assert row["classification"] is False
    assert "examples" not in jsonl.as_row(made.seeds[0])


def test_the_settings_of_an_entry_override_the_filters_of_generation(configure: Configure) -> None:
    settings = configure({"bootstrap": {"0": ENTRY}})
    assert isinstance(settings.bootstrap["0"], BootstrapSettings)
    assert settings.generate.novelty == 0.995
    assert settings.bootstrap_filters("0").novelty == 0.7
    assert settings.bootstrap_filters("0").min_words == settings.generate.min_words
