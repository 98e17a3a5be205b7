"""A label says what is asked for and of what, or else in which script."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lion.generation.topic_labels import domain
from lion.readers import files

SHARED = Path(__file__).parents[2] / "shared" / "data" / "instructions"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Write a short poem about the sea.", "write poem"),
        ("Please write me a poem!", "write poem"),
        ("Can you translate this sentence into French?", "translate sentence"),
        ("Generate a list of five animals", "generate list"),
        ("What is the capital of Peru?", "what capital"),
        ("Tom has 3 apples. He eats one. How many apples are left?", "how apples"),
        ("Summarize: rain fell.", "summarize"),
        ("There is a lion in the garden", "Latin"),
        ("写一首关于海的诗", "Han"),
        ("Напиши стихотворение", "Cyrillic"),
        ("اكتب قصيدة", "Arabic"),
        ("2 + 2 = ?", "none"),
        ("", "none"),
    ],
)
def test_labels_worked_by_hand(text: str, label: str) -> None:
    assert domain(text) == label


@given(st.text())
def test_any_text_has_a_label_of_two_words_at_most(text: str) -> None:
    assert 1 <= len(domain(text).split()) <= 2
    assert domain(text) == domain(text)


def test_most_tasks_that_people_write_have_a_label_of_their_own() -> None:
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: the real instructions are not part of the project")
    rows = files.read_rows(SHARED / "seed_tasks_175.jsonl").rows
    labels = [domain(row.messages[-1]["content"]) for row in rows]
    assert sum(label != "Latin" for label in labels) > 0.75 * len(labels)
