"""Candidates become new instructions in the order of their requests, for stated reasons."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest
from fixtures import Configure
from msgspec.structs import replace

from lion.generation.filters.decontamination import Decontamination
from lion.generation.filters.near_duplicates import NearDuplicateIndex, Vector
from lion.generation.filters.quality import RejectReason
from lion.generation.generated_pool import FUNNEL, GeneratedPool, generated_pool, seeds_of
from lion.generation.rounds import CandidateFilter
from lion.pools import rng_for
from lion.prompting.protocol import Failure
from lion.records import jsonl
from lion.records.rows import KINDS, Dropped, Instruction, Kind

Made = Callable[..., GeneratedPool]

# no two share a word, so that ROUGE-L tells them apart at any limit
WORDS = [f"{a}{b}{c}" for a, b, c in itertools.product("bdfgk", "aeiou", "lmnrst")]


def task(number: int) -> str:
    return " ".join(WORDS[number * 5 % 145 :][:5])


def row(text: str) -> Instruction:
    return Instruction.new([{"role": "user", "content": text}], origin="seed", iteration="0")


CACHE = [row(task(number)) for number in range(6)]
EXAM = ("exam-1", "please list every planet beyond the asteroid belt")


@pytest.fixture
def pool(configure: Configure) -> Made:
    """Return a maker of pools: three hard and three easy parents, all of them in the cache."""

    def made(depth: int = 1, random_seed: int = 0, **changes: object) -> GeneratedPool:
        values = {"hard": 5, "easy": 5, "novelty": 0.7, "per_parent": None, **changes}
        settings = configure({f"generate.{key}": value for key, value in values.items()})
        return generated_pool(
            "1",
            depth,
            settings.generate,
            {"hard": CACHE[:3], "easy": CACHE[3:]},
            CACHE,
            CandidateFilter(
                settings.generate,
                settings.quality,
                Decontamination([EXAM], whole=True, ngram=None),
            ),
            rng_for(random_seed=random_seed, purpose="generate", depth=depth),
            gaps={one.id: float(number) for number, one in enumerate(CACHE)},
            progress={},
        )

    return made


def reasons(pool: GeneratedPool) -> list[str]:
    return [dropped.reason for dropped in pool.dropped]


def test_what_is_kept_leads_back_to_its_parent(pool: Made) -> None:
    here = pool()
    assert here.admit("hard", CACHE[1], f"  {task(7)}\r\n")
    assert here.admit("easy", CACHE[4], task(8))
    assert [(one.messages[0]["content"], one.origin, one.parent) for one in here.kept] == [
        (task(7), "hard", CACHE[1].id),
        (task(8), "easy", CACHE[4].id),
    ]
    assert {one.iteration for one in here.kept} == {"1"}


@pytest.mark.parametrize("kinds", list(itertools.product(KINDS, KINDS)))
def test_new_ones_are_checked_against_each_other_across_kinds(
    pool: Made, kinds: tuple[Kind, Kind]
) -> None:
    """The authors compare a new hard one with new hard ones alone."""
    here = pool()
    first, second = kinds
    assert here.admit(first, CACHE[0], task(7))
    assert not here.admit(second, CACHE[4], task(7))
    assert not here.admit(second, CACHE[4], task(7) + " again")
    assert reasons(here) == ["duplicate", "not_novel"]
    assert here.kept[0].id in (here.dropped[1].detail or "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (task(2), "duplicate"),
        (f" {task(2)}\n", "duplicate"),
        (f"{task(2)}!", "not_novel"),
        (task(2).upper(), "not_novel"),
        (" ".join([*task(2).split()[:4], "other"]), "not_novel"),
    ],
)
def test_the_cache_is_not_made_again(pool: Made, text: str, reason: str) -> None:
    here = pool()
    assert not here.admit("hard", CACHE[0], text)
    assert reasons(here) == [reason]
    assert CACHE[2].id in (here.dropped[0].detail or "")


class ByLength:
    """An embedder for which two texts point the same way if they have as many letters."""

    def embed(self, texts: Sequence[str]) -> list[Vector | Failure]:
        one = np.eye(400, dtype=np.float32)
        return [Failure("http_400", "no") if "!" in text else one[len(text)] for text in texts]

    def used(self) -> None:
        return None


def nearly(pool: GeneratedPool) -> GeneratedPool:
    near = NearDuplicateIndex(0.9, ByLength())
    near.fill([(row.id, row.messages[0]["content"]) for row in CACHE])
    pool.filter.near = near
    return pool


def test_what_is_new_by_its_words_may_be_known_by_its_meaning(pool: Made) -> None:
    here = nearly(pool())
    length = len(task(2))
    assert not here.admit("hard", CACHE[0], "x " * (length // 2) + "x" * (length % 2))
    assert here.admit("hard", CACHE[0], "words of quite another length than those are")
    assert not here.admit("easy", CACHE[4], "as many letters yet no word in common so 123")
    assert not here.admit("easy", CACHE[4], "this one is not embedded at all, sadly!")
    assert reasons(here) == ["near_duplicate", "near_duplicate", "http_400"]
    assert here.dropped[0].detail == f"{CACHE[0].id} at 1.0000"
    assert here.dropped[1].detail == f"{here.kept[0].id} at 1.0000"
    assert here.kept[0].closest == (CACHE[0].id, 0.0)
    assert jsonl.parsed(jsonl.as_row(here.kept[0]), Instruction) == here.kept[0]
    assert here.counts("easy")["near_duplicate"] == 1


def test_what_is_withdrawn_is_counted_and_stays_known(pool: Made) -> None:
    here = pool(per_parent=1)
    assert here.admit("hard", CACHE[0], task(7))
    assert here.admit("easy", CACHE[4], task(8))
    here.remove({here.kept[0].id: RejectReason("unsafe", "unsafe")})
    assert [row.origin for row in here.kept] == ["easy"]
    assert here.funnel["hard"] == {"asked": 1, "unsafe": 1, "kept": 0}
    assert (here.wanted("hard"), here.wanted("easy")) == (5, 4)
    assert here.dropped[0].text == task(7)
    assert not here.admit("hard", CACHE[0], task(7)), "the parent is open, the text is known"
    assert reasons(here) == ["unsafe", "duplicate"]
    assert here.admit("hard", CACHE[0], task(9)), "what was withdrawn does not fill its parent"


def test_the_limit_of_novelty_decides(pool: Made) -> None:
    """Four of five words in common: F = 0.8."""
    text = " ".join([*task(2).split()[:4], "other"])
    assert not pool(novelty=0.79).admit("hard", CACHE[0], text)
    assert pool(novelty=0.81).admit("hard", CACHE[0], text)


@pytest.mark.parametrize(
    "text",
    [
        EXAM[1],
        EXAM[1].upper() + "?",
        f"Be brief and {EXAM[1].replace(' ', '  ')}, then stop",
    ],
)
def test_exam_rows_never_enter(pool: Made, text: str) -> None:
    here = pool()
    assert not here.admit("easy", CACHE[4], text)
    assert here.kept == []
    (dropped,) = here.dropped
    assert (dropped.reason, dropped.detail) == ("contaminated", "exam exam-1 (whole)")


def test_a_text_that_is_no_unicode_is_dropped(pool: Made) -> None:
    here = pool()
    assert not here.admit("hard", CACHE[0], "say \ud800 please")
    assert reasons(here) == ["malformed"]
    assert [jsonl.as_row(dropped) for dropped in here.dropped]


def test_a_dropped_candidate_keeps_its_reason(pool: Made) -> None:
    here = pool()
    assert not here.admit("hard", CACHE[0], Dropped("generate", "truncated", id=CACHE[0].id))
    assert here.funnel["hard"] == {"asked": 1, "truncated": 1}


def test_a_parent_has_at_most_per_parent_children(pool: Made) -> None:
    """In all, hard and easy together, and also within one round."""
    here = pool(per_parent=2)
    kept = [here.admit("hard", CACHE[0], task(number)) for number in (7, 8, 9)]
    assert kept == [True, True, False]
    assert reasons(here) == ["parent_full"]
    drawn = {draw.source.id for _ in range(20) for draw in here.draws("hard")}
    assert drawn == {CACHE[1].id, CACHE[2].id}


def test_full_parents_end_the_round(pool: Made) -> None:
    here = pool(per_parent=1)
    for number, parent in enumerate(CACHE[:3]):
        assert here.admit("hard", parent, task(7 + number))
    assert list(here.draws("hard")) == []
    assert list(here.draws("easy"))


def test_no_more_are_kept_than_wanted(pool: Made) -> None:
    here = pool(hard=2, easy=1)
    kept = [here.admit("hard", CACHE[0], task(number)) for number in (7, 8, 9)]
    assert kept == [True, True, False]
    assert reasons(here) == ["surplus"]
    assert (here.wanted("hard"), here.wanted("easy")) == (0, 1)
    assert list(here.draws("hard")) == []
    assert list(here.draws("easy"))


def test_a_surplus_candidate_does_not_hinder_a_later_one(pool: Made) -> None:
    here = pool(hard=0)
    here.admit("hard", CACHE[0], task(7))
    assert here.admit("easy", CACHE[4], task(7))


@pytest.mark.parametrize(
    ("wanted", "size", "asked"),
    [(5, 512, 6), (1, 512, 2), (100, 512, 110), (100, 64, 64), (0, 512, 0)],
)
def test_a_round_asks_for_a_tenth_more_and_no_more_than_a_round(
    pool: Made, wanted: int, size: int, asked: int
) -> None:
    assert len(list(pool(hard=wanted, requests_per_round=size).draws("hard"))) == asked


def test_without_parents_nothing_is_asked(pool: Made) -> None:
    here = pool()
    here.parents = {"hard": [], "easy": CACHE[3:]}
    assert list(here.draws("hard")) == []


def chosen(pool: GeneratedPool) -> list[tuple[str, str, int]]:
    return [(draw.kind, draw.source.id, draw.sample) for _ in range(3) for draw in pool.choose()]


def test_parents_are_drawn_by_the_seed_alone(pool: Made) -> None:
    many = {"hard": 60, "easy": 60}
    assert chosen(pool(**many)) == chosen(pool(**many))
    assert chosen(pool(**many)) != chosen(pool(random_seed=1, **many))


def test_parents_are_drawn_uniformly(pool: Made) -> None:
    here = pool(hard=3000, requests_per_round=3300)
    drawn = [draw.source.id for draw in here.draws("hard")]
    for parent in CACHE[:3]:
        assert abs(drawn.count(parent.id) - 1100) < 5 * (3300 * 2 / 9) ** 0.5


def test_no_request_is_ever_the_same_twice(pool: Made) -> None:
    """Within a round, over rounds and over iterations: the ledger would answer the old text."""
    drawn = [one for depth in (1, 2, 3) for one in chosen(pool(depth=depth, hard=60, easy=60))]
    assert len(drawn) > 300
    assert len(set(drawn)) == len(drawn)


def test_the_funnel_counts_everything_once(pool: Made) -> None:
    here = pool(hard=2)
    candidates: Iterable[str | Dropped] = [
        task(7),
        task(7),
        EXAM[1],
        Dropped("generate", "truncated"),
        task(8),
        task(9),
    ]
    for one in candidates:
        here.admit("hard", CACHE[0], one)
    funnel = here.funnel["hard"]
    assert funnel == {
        "asked": 6,
        "kept": 2,
        "duplicate": 1,
        "contaminated": 1,
        "truncated": 1,
        "surplus": 1,
    }
    assert sum(funnel.values()) - funnel["asked"] == funnel["asked"]
    assert len(here.dropped) + len(here.kept) == funnel["asked"]


def test_the_nearest_one_is_recorded_of_what_is_kept(pool: Made) -> None:
    """Also the domain; in the row, so that a later diff can count them."""
    here = pool()
    text = " ".join([*task(2).split()[:2], "write", "new", "words"])
    assert here.admit("hard", CACHE[0], text)
    assert here.admit("hard", CACHE[0], "Write a poem about rivers")
    assert here.kept[0].nearest == (CACHE[2].id, 0.4)
    assert here.kept[1].domain == "write poem"
    assert jsonl.parsed(jsonl.as_row(here.kept[0]), Instruction) == here.kept[0]


def test_parents_can_be_drawn_by_their_gaps(pool: Made) -> None:
    """Gaps 0, 1 and 2: weights 1, 2 and 3."""
    here = pool(hard=3000, requests_per_round=3300, choice="gap")
    drawn = Counter(draw.source.id for draw in here.draws("hard"))
    for number, one in enumerate(CACHE[:3]):
        share = (number + 1) / 6
        assert abs(drawn[one.id] - 3300 * share) < 5 * (3300 * share * (1 - share)) ** 0.5


def test_a_seed_has_at_most_so_many_descendants(pool: Made) -> None:
    """Children of its children count, and those that the Cache Pool has already."""
    here = pool(max_descendants=2)
    assert here.admit("hard", CACHE[0], task(7))
    child = here.kept[0]
    assert here.admit("hard", child, task(8))
    assert not here.admit("easy", CACHE[0], task(9))
    assert not here.admit("easy", here.kept[1], task(9))
    assert reasons(here) == ["parent_full"] * 2
    assert here.admit("hard", CACHE[1], task(9))


def test_lineages_lead_back_to_seeds() -> None:
    one, two = CACHE[:2]
    child = replace(CACHE[2], parent=one.id)
    grandchild = replace(CACHE[3], parent=child.id)
    found = seeds_of([one, two, child, grandchild])
    assert [found[row.id] for row in (one, two, child, grandchild)] == [
        one.id, two.id, one.id, one.id
    ]  # fmt: skip


def test_unusable_candidates_are_dropped_with_the_gates_reason(pool: Made) -> None:
    here = pool()
    assert not here.admit("hard", CACHE[0], "write a poem about \x07 bells")
    assert [(one.reason, one.detail) for one in here.dropped] == [("control", "U+0007 at 19")]


def test_the_funnel_tells_also_what_did_not_happen(pool: Made) -> None:
    here = pool()
    here.admit("hard", CACHE[0], task(7))
    assert list(here.counts("hard")) == [*FUNNEL, "kept"]
    assert sum(here.counts("hard").values()) == 2
    assert set(here.counts("easy").values()) == {0}


def test_progress_weighs_hard_parents_alone(pool: Made) -> None:
    here = pool(choice="progress", hard=3000, easy=3000, requests_per_round=3000)
    here.choice.progress = {CACHE[0].id: 3.0, CACHE[1].id: 1.0, CACHE[2].id: 0.0}
    hard = Counter(draw.source.id for draw in here.draws("hard"))
    easy = Counter(draw.source.id for draw in here.draws("easy"))
    assert CACHE[2].id not in hard
    assert hard[CACHE[0].id] / hard[CACHE[1].id] == pytest.approx(3.0, rel=0.2)
    assert all(easy[row.id] == pytest.approx(1000, rel=0.15) for row in CACHE[3:])


def test_one_prompt_for_both_kinds_never_asks_the_same_twice(pool: Made) -> None:
    """Else the ledger has the reply, and it is a duplicate."""
    here = pool(feedback="uniform", hard=50, easy=50)
    here.parents = {"hard": CACHE, "easy": CACHE}
    drawn = [(draw.source.id, draw.sample) for draw in here.choose()]
    assert len(set(drawn)) == len(drawn)


def test_balanced_draws_evenly_over_domains(pool: Made) -> None:
    here = pool(feedback="balanced", hard=3000, requests_per_round=3000)
    labels = ["write poem", "write poem", "write song"]
    rows = [replace(row, domain=label) for row, label in zip(CACHE, labels, strict=False)]
    here.parents = {"hard": rows, "easy": CACHE[3:]}
    drawn = Counter(draw.source.domain for draw in here.draws("hard"))
    assert drawn["write poem"] == pytest.approx(1500, rel=0.1)
