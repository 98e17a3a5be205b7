"""Decontamination against a plain search through every question."""

import json
from pathlib import Path
from time import thread_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lion.generation.filters.decontamination import (
    SHORT,
    Decontamination,
    Overlap,
    normalised,
    parted,
)

SHARED = Path(__file__).parents[2] / "shared" / "data"
RIVER = "Which river flows through the city of Vienna?"

sentences = st.lists(st.sampled_from("abc"), max_size=14).map(" ".join)


def whole(*questions: str) -> Decontamination:
    """Build the whole-question test alone; ids are positions."""
    return Decontamination([(str(n), q) for n, q in enumerate(questions)], True, None)


def runs(size: int, *questions: str) -> Decontamination:
    """Build the n-gram test alone; ids are positions."""
    return Decontamination([(str(n), q) for n, q in enumerate(questions)], False, size)


@settings(max_examples=300)
@given(st.lists(sentences, max_size=6), sentences)
def test_whole_questions_are_found_as_a_plain_search_finds_them(
    questions: list[str], text: str
) -> None:
    """A long question stands inside, a short one is equal; the named one really is there."""
    met = whole(*questions).find_overlap(text)
    standing = {
        str(n)
        for n, question in enumerate(questions)
        if question
        and (f" {question} " in f" {text} " if len(question.split()) >= SHORT else question == text)
    }
    assert (met is not None) == bool(standing)
    if met:
        assert met.kind == "whole"
        assert met.exam_id in standing


@settings(max_examples=200)
@given(st.lists(sentences, max_size=6), sentences, st.integers(1, 6))
def test_runs_are_found_as_a_plain_search_finds_them(
    questions: list[str], text: str, size: int
) -> None:
    """Any run of n words that a question and the text share."""
    words = text.split()
    shared = {" ".join(words[at : at + size]) for at in range(len(words) - size + 1)}
    leaked = {
        str(n)
        for n, question in enumerate(questions)
        if any(f" {run} " in f" {question} " for run in shared)
    }
    met = runs(size, *questions).find_overlap(text)
    assert (met is not None) == bool(leaked)
    if met:
        assert met.kind == "ngram"
        assert met.exam_id in leaked


@pytest.mark.parametrize(
    "text",
    [
        RIVER,
        f"Answer briefly: {RIVER} Thank you.",
        "WHICH  river\nflows through the city of vienna",
        "Quiz: “Which river flows — through the city of Vienna…”",
        "**Which river** flows through the city of _Vienna_?",
        "Which river flows through the \uff23\uff49\uff54\uff59 of Vienna?",
    ],
)
def test_case_punctuation_and_spacing_hide_nothing(text: str) -> None:
    """The same question in another dress is the same question."""
    assert whole(RIVER).find_overlap(text) == Overlap("0", "whole")


@pytest.mark.parametrize(
    "text",
    [
        "Which river flows through the city of Viennas?",
        "Which river flows through the city of Linz?",
        "Which river flows through the old city of Vienna?",
        "river flows through the city of Vienna",
        "",
    ],
)
def test_another_question_is_another_question(text: str) -> None:
    """Only whole words count, and all of them."""
    assert whole(RIVER).find_overlap(text) is None


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("What is 12 - 7 in words?", "What is 12 + 7 in words?"),
        ("What is 12 - 7 in words?", "What is 12 * 7 in words?"),
        ("Please now compute 3*(4+5)", "Please now compute 3-(4+5)"),
        ("Which is larger, 2.5 or 3?", "Which is larger, 25 or 3?"),
        ("Is it true that 3 < 4 or not", "Is it true that 3 > 4 or not"),
    ],
)
def test_a_sign_beside_a_number_is_not_punctuation(question: str, text: str) -> None:
    """Templates of arithmetic differ in nothing else, and a pool of them is not a leak."""
    assert whole(question).find_overlap(text) is None
    assert whole(question).find_overlap(f"Tell me: {question.upper()} Please.") is not None


@pytest.mark.parametrize(
    ("question", "inside", "met"),
    [
        ("Why?", "Why is the sky blue?", False),
        ("Why?", "WHY", True),
        ("Name a river", "Name a river in Austria", False),
        ("Name a long river", "Please: name a long river!", True),
        ("为什么天是蓝的", "请问为什么天是蓝的呢", False),
        ("为什么天是蓝的", "「为什么天是蓝的。」", True),
        ("为什么今天的天是蓝的", "请问为什么今天的天是蓝的呢", True),
        ("🎉", "🎉", True),
        ("🎉", "🎈", False),
        ("?", "!", False),
    ],
)
def test_a_very_short_question_must_be_equal(question: str, inside: str, met: bool) -> None:
    """Under four words (eight characters of an unspaced script) only equality is a leak."""
    assert (whole(question).find_overlap(inside) is not None) == met


def test_options_turn_tests_off() -> None:
    """With neither test nothing meets; with both, the whole question is the one named."""
    exam = [("river", RIVER)]
    assert Decontamination(exam, False, None).find_overlap(RIVER) is None
    assert Decontamination(exam, True, 5).find_overlap(RIVER) == Overlap("river", "whole")
    assert Decontamination(exam, True, 5).find_overlap(f"a {RIVER[:-9]}") == Overlap(
        "river", "ngram"
    )


def test_an_empty_exam_and_an_empty_question_meet_nothing() -> None:
    """Not even an empty text."""
    assert whole().find_overlap("anything at all") is None
    assert whole("", " ").find_overlap("") is None


def test_the_first_of_equal_questions_is_named() -> None:
    """So that the message does not depend on chance."""
    assert whole(RIVER, RIVER.upper()).find_overlap(RIVER) == Overlap("0", "whole")


def test_an_n_below_one_is_refused() -> None:
    """A run of no words would be shared by everything."""
    with pytest.raises(ValueError, match="ngram"):
        runs(0, "a b c")


@given(st.text())
def test_normalising_knows_every_text_but_the_blank_one(text: str) -> None:
    """A text that is not blank always has something to compare."""
    assert bool(normalised(text)) == bool(normalised(f" {text}\n"))
    if text.strip() and text.isprintable():
        assert normalised(text)


def test_thousands_of_templates_are_not_searched_one_by_one() -> None:
    """Questions that share their first words cost a text no more than one question does."""
    few, many = (
        whole(*(f"Take the number {n} and add it to {n % 7} then stop" for n in range(size)))
        for size in (10, 10_000)
    )
    texts = [f"Well: take the number {n} and add it to 9 then stop" for n in range(300)]

    def seconds(exam: Decontamination) -> float:
        times = []
        for _ in range(3):
            start = thread_time()
            assert not any(exam.find_overlap(text) for text in texts)
            times.append(thread_time() - start)
        return min(times)

    assert seconds(many) < 10 * seconds(few)


def test_every_real_exam_item_is_found_in_disguise_and_no_instruction_is_accused() -> None:
    """252 real questions hidden in prose; 3,146 real instructions that contain none of them."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: the real instructions are not part of the project")
    lines = (SHARED / "instructions" / "user_oriented_252.jsonl").read_text("utf-8").splitlines()
    questions = {
        row["id"]: f"{row['instruction']}\n\n{row['instances'][0]['input']}"
        for row in map(json.loads, lines)
    }
    assert len(questions) == 252
    decontamination = Decontamination(questions.items(), True, 13)
    for text in questions.values():
        met = decontamination.find_overlap(f"Here it comes. {text.upper()} -- That was it.")
        assert met is not None
        assert met.kind == "whole"
        named = normalised(questions[met.exam_id])
        assert " ".join(named) in " ".join(normalised(text))
    rows = json.loads((SHARED / "instructions" / "gpteacher_roleplay.json").read_text("utf-8"))
    accused = [row for row in rows if decontamination.find_overlap(row["instruction"])]
    assert accused == []


CHOICE = "Which planet is the largest of all?\nOptions:\n(A) Mars\n(B) Jupiter\n(C) Venus"
OTHER = "Which planet is the largest of all?\nOptions:\n(A) Earth\n(B) Saturn"


@pytest.mark.parametrize(
    "text",
    [
        "Which planet is the largest of all? 1) Jupiter 2) Venus 3) Mars",
        "Quiz! WHICH PLANET is the largest of all?\n- Venus\n- Mars\n- Jupiter\nThanks.",
    ],
)
def test_options_in_another_order_hide_nothing(text: str) -> None:
    """Nor under other labels; the item whose options they are is the one named."""
    assert whole(OTHER, CHOICE).find_overlap(text) == Overlap("1", "options")


def test_a_stem_alone_counts_where_only_one_item_has_it() -> None:
    """Else `Which statement is sarcastic?` would be a leak."""
    stem = "Tell me: which planet is the largest of all?"
    assert whole(CHOICE).find_overlap(stem) == Overlap("0", "stem")
    assert whole(CHOICE, OTHER).find_overlap(stem) is None


@pytest.mark.parametrize(
    ("text", "stem", "options"),
    [
        (CHOICE, "Which planet is the largest of all?", ["Mars", "Jupiter", "Venus"]),
        ("Who? (A) I (B) you", "Who?", ["I", "you"]),
        ("Who?\nA. I\nB. you\nC. they", "Who?", ["I", "you", "they"]),
        ("Is it?\nOptions:\n- Yes\n- No", "Is it?", ["Yes", "No"]),
        ("See (A) alone", "See (A) alone", []),
        ("Plan A. Then B", "Plan A. Then B", []),
        ("A list\n- one\n- two", "A list\n- one\n- two", []),
    ],
)
def test_options_are_told_from_the_stem(text: str, stem: str, options: list[str]) -> None:
    found = parted(text)
    assert (found[0].strip(), [option.strip() for option in found[1]]) == (stem, options)


def test_a_short_question_of_many_marks_is_looked_for_to_the_letter() -> None:
    """Three words are no leak, nine brackets are."""
    exam = whole("( ( not ( True ) ) ) is")
    assert exam.find_overlap("Well: ((not (True))) is what?") == Overlap("0", "whole")
    assert exam.find_overlap("not true is what") is None
