"""A label says what is asked for and of what, or else in which script."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lion.generation import topic_labels
from lion.generation.topic_labels import domain
from lion.readers import files
from lion.reporting import domains
from lion.reporting.domain_cards import domain_cards
from lion.reporting.domains import domain_name
from lion.reporting.snapshot import Run

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


def test_every_label_has_a_domain_that_can_be_read() -> None:
    """Five to fifteen names in all; no verb without one, and never the name of a script."""
    words = topic_labels._VERBS | topic_labels._QUESTIONS
    assert domains._KIND.keys() == words
    names = {domain_name(f"{word} thing") for word in words}
    names |= {domain_name(script) for script in (*topic_labels._SCRIPTS, "none", "other")}
    assert 5 <= len(names) <= 15
    assert not names & {*topic_labels._SCRIPTS, "none", "other"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Write a short poem about the sea.", "writing"),
        ("What is the capital of Peru?", "questions"),
        ("Sort these words: b a c", "ordering"),
        ("There is a lion in the garden", "other requests"),
        ("写一首关于海的诗", "other scripts"),
    ],
)
def test_domains_worked_by_hand(text: str, name: str) -> None:
    assert domain_name(domain(text)) == name


def test_a_card_shows_the_domains_of_the_pool_against_those_of_the_hard_rows() -> None:
    """As the paper's figure: each bar is a share of all rows, and of those that are hard."""
    labels = ["write poem", "compose song", "sort letters", "Latin"]
    rows = pl.DataFrame(
        {
            "about": labels,
            "domain": labels,
            "iteration": ["0", "0", "1", "1"],
            "difficulty": ["hard", "easy", "hard", None],
        }
    )
    run = Run(cast("Any", None), "1", [], [], rows)
    drift, hard = domain_cards(run)
    assert drift is not None and hard is not None
    bars = {
        (value["domain"], value["of"]): value["share"] for value in hard["plot"]["data"]["values"]
    }
    assert bars == {
        ("writing", "pool"): 0.5,
        ("writing", "hard rows"): 0.5,
        ("ordering", "pool"): 0.25,
        ("ordering", "hard rows"): 0.5,
        ("other requests", "pool"): 0.25,
        ("other requests", "hard rows"): 0.0,
    }
    drift, nothing = domain_cards(replace(run, rows=rows.with_columns(difficulty=pl.lit(None))))
    assert nothing is None, "where nothing was judged there is no such figure"
