"""Each gate speaks of what it is there for, and of nothing else."""
# ruff: noqa: RUF001 - letters of other scripts are what is tested

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
from fixtures import Configure
from hypothesis import given
from hypothesis import strategies as st
from real_text import SHARED, real_rows

from lion.config.settings import Quality
from lion.errors import ModelError, SettingsError
from lion.generation.filters import quality

ALL = Quality(encoding=True, scripts=["Latin"], absent_input=True, max_tokens=5)


def reason(found: quality.RejectReason | None) -> str | None:
    return None if found is None else found.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write a poem.\n\tWith tabs\r\n", None),
        ("Příliš žluťoučký kůň 🎉 — „ok“", None),
        ("שלום \u200fעולם, مرحبا", None),  # marks of direction are writing
        ("می\u200cرود क्\u200dष", None),
        ("NUL \x00 here", "control"),
        ("bell \x07", "control"),
        ("C1 \x9d", "control"),
        ("lost \ufffd here", "control"),
        ("half \ud800 pair", "control"),
        ("no character \ufffe", "control"),
        ("cafÃ© und MÃ¼nchen", "mojibake"),
        ("itâ€™s what theyâ€™d say", "mojibake"),
        ("SÃO PAULO É LINDA", None),  # one capital with a tilde is Portuguese
    ],
)
def test_control_characters_and_broken_encodings(text: str, expected: str | None) -> None:
    assert reason(quality.encoding(text)) == expected


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"], exclude_characters="ÂÃâ")))
def test_letters_digits_and_marks_of_any_script_pass(text: str) -> None:
    assert quality.encoding(text) is None


@pytest.mark.parametrize(
    ("text", "scripts", "fits"),
    [
        ("Write a poem", ["Latin"], True),
        ("Explain 你好 in one sentence", ["Latin"], True),
        ("请用中文解释 API 的意思", ["Latin"], False),
        ("请用中文解释 API 的意思", ["Han", "Latin"], True),
        ("Напишите стихотворение", ["Latin"], False),
        ("2 + 2 = ?", ["Han"], True),
    ],
)
def test_half_of_the_letters_decide_the_script(text: str, scripts: list[str], fits: bool) -> None:
    assert (quality.script(text, scripts) is None) == fits


@pytest.mark.parametrize(
    ("text", "absent"),
    [
        ("Summarize the following text", True),
        ("Translate the given sentence into French.", True),
        ("What is wrong with the code below?", True),
        ("Summarize the following text: Rain fell.", False),
        ("Summarize the following text\n\nRain fell.", False),
        ('Is the following sentence true "All is well"', False),
        ("Add the following numbers 4 and 5", False),
        ("Describe the text editor you like most", False),
        ("Explain what followed the war", False),
        ("Complete the following table", True),
        ("Answer the following question about a given day", True),
        ("The following day, she ate one piece. How many are left?", False),
        ("How many days the following week will Barney not have clean towels?", False),
        ("What happened in the following two weeks?", False),
        ("What did the party decide the following school year?", False),
        ("Plan a party for this following Saturday", False),
        ("Show that given enough time, a monkey types Hamlet", False),
        ("Which of the given names in your family is oldest?", False),
        ("Describe the picture above the sofa in your living room", False),
        ("How is the data provided by weather satellites used?", False),
        ("Why do the above average students leave?", False),
        ("Design a lamp for the attached garage", False),
        ("Name a synonym of the following word, 'happy'", False),
        ("Translate the following word into French - happy", False),
        ("Describe the image provided", True),
        ("Summarize the article given.", True),
    ],
)
def test_words_that_point_at_nothing(text: str, absent: bool) -> None:
    assert (quality.absent_input(text) is not None) == absent


def test_the_first_flaw_is_the_one_that_is_told() -> None:
    count: Callable[[str], int] = lambda text: len(text.split())  # noqa: E731
    assert reason(quality.reject_reason("\x00 слишком", ALL, count)) == "control"
    assert reason(quality.reject_reason("слишком", ALL, count)) == "script"
    assert reason(quality.reject_reason("Read the following text", ALL, count)) == "absent_input"
    assert reason(quality.reject_reason("one two three four five six", ALL, count)) == "too_long"
    assert quality.reject_reason("one two three four five", ALL, count) is None
    assert quality.reject_reason("one two three four five six", ALL) is None
    off = Quality(encoding=False, scripts=None, absent_input=False, max_tokens=None)
    assert quality.reject_reason("\x00 read the following text", off, count) is None


def test_real_instructions_never_point_at_nothing() -> None:
    """Of 18,719 written by people and by GPT-4; of those that come with an input, without it."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: the real instructions are not part of the project")
    rows = list(real_rows(SHARED))
    whole = [f"{instruction}\n\n{text}".strip() for instruction, text in rows]
    assert [text for text in whole if quality.absent_input(text) is not None] == []
    bare = [instruction for instruction, text in rows if text.strip()]
    assert sum(quality.absent_input(text) is not None for text in bare) >= 146


def test_tokens_are_the_students(configure: Configure, tmp_path: Path) -> None:
    """By tokenizer.json alone; a folder without it is told."""
    tiny.folder(tmp_path / "student")
    changes = {"student.model": str(tmp_path / "student"), "quality.max_tokens": 5}
    settings = configure(changes)
    count = quality.token_counter(settings.quality, settings.student)
    assert count is not None
    assert count("one two three") >= 3
    (tmp_path / "student" / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        quality.token_counter(settings.quality, settings.student)
    assert quality.token_counter(configure({}).quality, settings.student) is None


def test_the_embedded_students_tokens_cannot_be_asked_for(configure: Configure) -> None:
    with pytest.raises(SettingsError, match=r"quality\.max_tokens"):
        configure({"quality.max_tokens": 5})


def test_a_script_that_is_none_is_refused(configure: Configure) -> None:
    with pytest.raises(SettingsError, match="script of Unicode"):
        configure({"quality.scripts": ["Klingon"]})
