"""Claims about lion.generation.filters.novelty, against Google's rouge-score as the oracle."""
# ruff: noqa: RUF001 - letters of other scripts are what is tested

import json
import random
import unicodedata
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize
from rouge_score.tokenizers import Tokenizer

from lion.generation.filters.novelty import Neighbour, Novelty, f_measures
from lion.words import Tokens, words

SHARED = Path(__file__).parents[2] / "shared" / "data" / "instructions"

few_words = st.lists(st.sampled_from("abcde"), max_size=12).map(" ".join)


class _Ours(Tokenizer):  # type: ignore[misc]  # rouge-score carries no types
    """Lets rouge-score count our words, so that only the measure is compared."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens: Tokens = tokens

    def tokenize(self, text: str) -> list[str]:
        return words(text, self._tokens)


REFERENCE = RougeScorer(["rougeL"])
UNICODE = RougeScorer(["rougeL"], tokenizer=_Ours("unicode"))


def rouge(one: str, other: str, scorer: RougeScorer = REFERENCE) -> float:
    """ROUGE-L F of the reference implementation."""
    return float(scorer.score(one, other)["rougeL"].fmeasure)


def pool_of(texts: Iterable[str], limit: float, tokens: Tokens = "reference") -> Novelty:
    """Build a pool whose ids are positions."""
    novelty = Novelty(limit, tokens)
    for number, text in enumerate(texts):
        novelty.add(str(number), text)
    return novelty


def real_instructions() -> list[str]:
    """Instructions of both kinds of file, or a skip where they are absent."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: the real instructions are not part of the project")
    path = SHARED / "user_oriented_252.jsonl"
    lines = [json.loads(line)["instruction"] for line in path.read_text("utf-8").splitlines()]
    rows = json.loads((SHARED / "gpteacher_roleplay.json").read_text("utf-8"))
    return lines + [row["instruction"] for row in rows[:250]]


@settings(max_examples=300)
@given(st.lists(few_words.filter(bool), min_size=1, max_size=5), few_words.filter(bool))
def test_a_text_is_new_exactly_where_the_reference_says_so(pool: list[str], text: str) -> None:
    """For every limit that the pool's own scores make a tie, and for the paper's 0.7."""
    scores = [rouge(other, text) for other in pool]
    limits = {score for score in scores if score > 0} | {0.7}
    for limit in limits:
        found = pool_of(pool, limit).nearest(text)
        if max(scores) <= limit:
            assert found is None
        else:
            assert found is not None
            assert found.similarity == max(scores) == scores[int(found.id)]


def test_at_exact_ties_the_reference_formula_decides() -> None:
    """Lengths and overlaps where F is 0.7 or 0.8 as a fraction, and rounds to either side."""
    sides = set()
    for limit, common in product((0.7, 0.8), range(1, 60)):
        total = round(2 * common / limit)
        if total * limit * 10 != 20 * common and abs(2 * common / total - limit) > 1e-12:
            continue
        for one in range(common, total - common + 1):
            other = total - one
            shared = [f"s{n}" for n in range(common)]
            left = " ".join(shared + [f"l{n}" for n in range(one - common)])
            right = " ".join(shared + [f"r{n}" for n in range(other - common)])
            expected = rouge(left, right)
            assert f_measures(np.array([common]), one, np.array([other])) == [expected]
            assert pool_of([left], limit).check(right) == (expected <= limit)
            sides.add((limit, expected > limit))
    assert sides >= {(0.7, False), (0.7, True)}


def test_of_tied_neighbours_one_above_the_limit_is_enough() -> None:
    """Equal fractions, of which only one rounds above 0.7, decide in either order of the pool."""
    text, above, below = _tied()
    for pool in ([above, below], [below, above]):
        found = pool_of(pool, 0.7).nearest(text)
        assert found is not None
        assert pool[int(found.id)] == above


def _tied() -> tuple[str, str, str]:
    """Return a text and two neighbours at the fraction 0.7: one F is above it, one is not."""
    for one in range(1, 120):
        sides: dict[bool, tuple[int, int]] = {}
        for common in range(7, one + 1, 7):
            other = common // 7 * 20 - one
            if other >= common:
                (found,) = f_measures(np.array([common]), one, np.array([other]))
                sides[bool(found > 0.7)] = (common, other)
        if len(sides) == 2:
            text = [f"w{n}" for n in range(one)]
            above, below = (
                " ".join(text[:common] + [f"{side}{n}" for n in range(other - common)])
                for side, (common, other) in ((side, sides[side]) for side in (True, False))
            )
            return " ".join(text), above, below
    raise AssertionError("no length has neighbours on both sides")


@pytest.mark.parametrize(("tokens", "scorer"), [("reference", REFERENCE), ("unicode", UNICODE)])
def test_real_pairs_score_as_the_reference_does(tokens: Tokens, scorer: RougeScorer) -> None:
    """On random pairs of real instructions, to the last bit."""
    texts = real_instructions()
    draw = random.Random(0)
    compared = 0
    for one, other in (draw.sample(texts, 2) for _ in range(150)):
        expected = rouge(one, other, scorer)
        if expected <= 0.05:
            continue
        found = pool_of([one], 0.05, tokens).nearest(other)
        assert found is not None
        assert found.similarity == expected
        compared += 1
    assert compared > 50


def test_the_nearest_of_a_real_pool_is_the_reference_s() -> None:
    """The C++ search returns the largest F of the whole pool, not some F above the limit."""
    texts = real_instructions()
    pool, candidates = texts[:250], texts[250::50]
    novelty = pool_of(pool, 0.1)
    assert candidates
    for candidate in candidates:
        found = novelty.nearest(candidate)
        expected = max(rouge(other, candidate) for other in pool)
        assert (found.similarity if found else None) == (expected if expected > 0.1 else None)


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_for_ascii_both_tokenizers_agree(text: str) -> None:
    """`unicode` is the reference's idea, carried to other scripts: ASCII or not, the same words."""
    expected = words(text, "reference")
    assert words(text, "unicode") == expected
    assert words(f"{text} é", "unicode") == [*expected, "é"]


@given(st.text())
def test_reference_words_are_those_of_rouge_score(text: str) -> None:
    """Whatever the text, also beyond ASCII."""
    assert words(text, "reference") == tokenize(text, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Straße, STRASSE!", ["strasse", "strasse"]),
        ("Čeština je těžká", ["čeština", "je", "těžká"]),
        ("\uff21\uff22 \uff11\uff12", ["ab", "12"]),
        ("Привет, мир", ["привет", "мир"]),
        ("机器学习 is fun", ["机", "器", "学", "习", "is", "fun"]),
        ("iPhone手机", ["iphone", "手", "机"]),
        ("コーヒーが好き", list("コーヒーが好き")),
        ("ภาษา", ["ภ", "า", "ษ", "า"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("ພາສາ", list("ພາສາ")),
        ("ភាសា", ["ភា", "សា"]),
        ("မြန်မာ", ["မြ", "န်", "မာ"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("می\u200cرود", ["میرود"]),
        ("لغة جديدة", ["لغة", "جديدة"]),
        ("snake_case don't", ["snake", "case", "don", "t"]),
        ("🎉 … !", []),
        ("\u0301", []),
        ("\ud800 x", ["x"]),
    ],
)
def test_words_of_any_script(text: str, expected: list[str]) -> None:
    """Worked by hand: marks stay with their base, unspaced scripts go by character."""
    assert words(text, "unicode") == expected


@given(st.text())
def test_composed_and_decomposed_text_have_the_same_words(text: str) -> None:
    """Unicode's two spellings of one letter are one word."""
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert words(composed, "unicode") == words(decomposed, "unicode")


@given(st.text().filter(lambda text: text.strip()), st.sampled_from(["unicode", "reference"]))
def test_the_same_text_is_never_new(text: str, tokens: Tokens) -> None:
    """A duplicate counts as 1.0, also where the tokenizer sees no word in it."""
    found = pool_of(["other", text], 0.995, tokens).nearest(text)
    assert found is not None
    assert found.similarity == 1.0


def test_texts_without_words_are_compared_as_texts() -> None:
    """Chinese under the reference tokenizer, and emoji, have no F-measure: equal or new."""
    novelty = pool_of(["写一首诗", "🎉"], 0.7, "reference")
    assert not novelty.check(" 写一首诗\n")
    assert novelty.check("写一首歌")
    assert not novelty.check("🎉")
    assert novelty.check("🎈")
    assert novelty.check("")


def test_other_scripts_are_compared_by_their_words() -> None:
    """Four of five characters in common: F = 0.8 by hand."""
    novelty = pool_of(["写一首长诗"], 0.7, "unicode")
    found = novelty.nearest("写一首长歌")
    assert found is not None
    assert found.similarity == pytest.approx(0.8)
    assert novelty.check("请解释量子力学的原理")


def test_words_that_the_pool_lacks_match_nothing() -> None:
    """Two unknown words of a candidate are not mistaken for each other, nor for known ones."""
    novelty = pool_of(["alpha beta gamma delta"], 0.5)
    assert novelty.check("one two three four")
    assert novelty.check("alpha beta three four")
    assert not novelty.check("alpha beta gamma four")


def test_the_pool_grows_with_what_is_kept() -> None:
    """A candidate added is known at once; the first of equals is the neighbour."""
    novelty = Novelty(0.7, "unicode")
    assert novelty.check("Sort these numbers now please")
    novelty.add("a", "Sort these numbers now please")
    novelty.add("b", "Sort these numbers now please!")
    found = novelty.nearest("sort these numbers, now, please")
    assert found is not None
    assert found == Neighbour("a", 1.0)
    assert len(novelty) == 2


def test_a_limit_of_one_keeps_everything() -> None:
    """No F is above 1."""
    assert pool_of(["the same text"], 1.0).check("the same text")


@pytest.mark.parametrize("limit", [0.0, -1.0, 1.5, float("nan")])
def test_a_limit_outside_its_range_is_refused(limit: float) -> None:
    """Rather than read as "everything" or "nothing"."""
    with pytest.raises(ValueError, match="limit"):
        Novelty(limit, "unicode")


def test_sixty_thousand_different_words_stay_different() -> None:
    """The vocabulary of a large pool is no limit."""
    novelty = Novelty(0.4, "reference")
    novelty.add("all", " ".join(f"w{n}" for n in range(60_000)))
    novelty.add("late", "w55294 w55295 w55296 w57342 w59999")
    found = novelty.nearest("w55294 w55295 w55296 w57342 w59999 x")
    assert found is not None
    assert found.id == "late"
    assert found.similarity == pytest.approx(10 / 11)


@settings(max_examples=200)
@given(
    st.lists(st.integers(0, 5).map(lambda n: f"w{n}"), min_size=1, max_size=40),
    st.lists(st.integers(0, 5).map(lambda n: f"w{n}"), min_size=1, max_size=40),
)
def test_any_two_token_sequences_score_as_the_reference_does(
    one: list[str], other: list[str]
) -> None:
    """To the last bit, new or not; words that stand more than once count as often as they do."""
    expected = rouge(" ".join(one), " ".join(other))
    found = pool_of([" ".join(one)], 0.7).neighbour(" ".join(other))
    assert (found.similarity if found else 0.0) == expected


def test_pairs_close_to_the_limit_are_decided_as_the_reference_decides() -> None:
    """Thousands of pairs within 0.02 of 0.7, of every length from 10 to 40 words."""
    draw = random.Random(0)
    sides = {True: 0, False: 0}
    for _ in range(2000):
        one = [f"w{draw.randrange(30)}" for _ in range(draw.randint(10, 40))]
        other = [word if draw.random() < 0.7 else f"x{draw.randrange(99)}" for word in one]
        expected = rouge(" ".join(one), " ".join(other))
        if abs(expected - 0.7) <= 0.02:
            assert pool_of([" ".join(one)], 0.7).check(" ".join(other)) == (expected <= 0.7)
            sides[expected > 0.7] += 1
    assert min(sides.values()) > 100


TEN_SCRIPTS = {
    "Latin": "Napište prosím krátkou báseň o podzimním lese a o řece",
    "Cyrillic": "Напишите короткое стихотворение об осеннем лесе и реке",
    "Greek": "Γράψε ένα μικρό ποίημα για το φθινοπωρινό δάσος και το ποτάμι",
    "Arabic": "اكتب قصيدة قصيرة عن الغابة في الخريف وعن النهر القريب",
    "Hebrew": "כתוב שיר קצר על היער בסתיו ועל הנהר הקרוב אל הבית",
    "Devanagari": "शरद ऋतु के जंगल और नदी के बारे में एक छोटी कविता लिखिए",
    "Han": "请写一首关于秋天森林和河流的短诗并解释其中的意象",
    "Japanese": "秋の森と川について短い詩を書いてその意味を説明してください",
    "Thai": "เขียนบทกวีสั้นๆเกี่ยวกับป่าในฤดูใบไม้ร่วงและแม่น้ำ",
    "Hangul": "가을 숲과 강에 대한 짧은 시를 하나 써 주세요 그리고 설명해 주세요",
}


@pytest.mark.parametrize("script", TEN_SCRIPTS)
def test_near_copies_are_caught_in_every_script(script: str) -> None:
    """A word swapped, words added around, other case and marks; no other script is accused."""
    text = TEN_SCRIPTS[script]
    novelty = pool_of([*TEN_SCRIPTS.values()], 0.7, "unicode")
    parts = text.split()
    swapped = " ".join([*parts[:-1], "🎈"]) if len(parts) > 1 else text[:-2]
    doubled = unicodedata.normalize("NFD", text).upper()
    for copy in (text, swapped, f"«{text}»!", doubled, f"{text} 42", f"OK: {text}"):
        found = novelty.nearest(copy)
        assert found is not None, copy
        assert found.id == str(list(TEN_SCRIPTS).index(script))
    alone = pool_of([other for name, other in TEN_SCRIPTS.items() if name != script], 0.7)
    assert alone.check(text)


@given(st.permutations(range(6)))
def test_the_order_of_the_pool_changes_no_decision(order: list[int]) -> None:
    """The nearest is the nearest, whenever it came."""
    texts = [" ".join(f"w{(n * k) % 11}" for k in range(1, 9)) for n in range(1, 7)]
    candidate = "w1 w2 w3 w4 w5 w6 w7 x"
    plain = pool_of(texts, 0.5).neighbour(candidate)
    mixed = pool_of([texts[n] for n in order], 0.5).neighbour(candidate)
    assert plain is not None and mixed is not None
    assert mixed.similarity == plain.similarity


def test_the_nearest_is_told_also_where_the_text_is_new() -> None:
    """And there is none where no word is shared, or nothing is there yet."""
    novelty = Novelty(0.7, "unicode")
    assert novelty.neighbour("sort these numbers") is None
    novelty.add("a", "sort those cards")
    assert novelty.check("sort these numbers")
    assert novelty.neighbour("sort these numbers") == Neighbour("a", 1 / 3)
    assert novelty.neighbour("write a poem") is None
