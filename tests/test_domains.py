"""A label says what is asked for and of what, or else in which script."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pooled import instruction, project, verdict

from lion.cli import main
from lion.generation import topic_labels
from lion.generation.topic_labels import domain
from lion.readers import files
from lion.records.rows import Instruction
from lion.reporting import domains
from lion.reporting.domain_cards import domain_cards
from lion.reporting.domains import domain_name, shown_label
from lion.reporting.snapshot import Run, described
from lion.simulator import task_families

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
        ("Given a sentence, detect if it is rude.\n\nGo away!", "detect rude"),
        ("You are a geologist. By this description, identify the type of rock.", "identify type"),
        ("As Macbeth, argue against the murder.", "argue"),
        ("If there are 36 litres, how many tanks do they fill?", "how tanks"),
        ("In five words name the odd one out", "name out"),
        ("Is the number 7368 even or odd?", "is even"),
        ("Reverse a b c", "reverse"),
        ("With the use of a knife cut it", "Latin"),
        ("In the list of numbers find the largest", "find largest"),
        ('"Write a poem about rain"', "write poem"),
        ("Tom, who is five, has a dog, which barks.", "Latin"),
        ("It is a list of names. Is it?", "is"),
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
    assert sum(label != "Latin" for label in labels) > 0.95 * len(labels)


def test_nearly_every_task_of_the_simulator_has_a_label_of_its_own() -> None:
    labels = [row.domain for row in simulated()]
    assert sum(label == "Latin" for label in labels) < 0.05 * len(labels)


def test_every_label_has_a_domain_that_can_be_read() -> None:
    """Five to fifteen names in all; no verb without one, and never the name of a script."""
    words = topic_labels._ASKED
    assert domains._KIND.keys() == words
    names = {domain_name(f"{word} thing") for word in words}
    names |= {domain_name(script) for script in (*topic_labels._SCRIPTS, "none", "other")}
    assert 5 <= len(names) <= 15
    assert not names & {*topic_labels._SCRIPTS, "none", "other"}
    assert {domain_name(name) for name in names} == names


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
            "domain": labels,
            "iteration": ["0", "0", "1", "1"],
            "difficulty": ["hard", "easy", "hard", None],
        }
    )
    rows = described(rows)
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


SCRIPTS = {*topic_labels._SCRIPTS, "none", "other"}
OF_PEOPLE = {
    "Write a short poem about the sea.": "writing",
    "Compose a song of two lines.": "writing",
    "Write a letter to a landlord.": "writing",
    "What is the capital of Peru?": "questions",
    "Sort these words: b a c": "ordering",
    "There is a lion in the garden": "other requests",
    "2 + 2 = ?": "other requests",
    "写一首关于海的诗": "other scripts",
    "Напиши стихотворение": "other scripts",
}


def simulated() -> list[Instruction]:
    """Return a base pool of the simulator, with the labels that the stage `seed` gives."""
    tasks = task_families.pool(200, random_seed=1, skew=1.3)
    return [topic_labels.labelled(instruction(task.instruction)) for task in tasks]


def of_people() -> list[Instruction]:
    return [topic_labels.labelled(instruction(text)) for text in OF_PEOPLE]


POOLS = pytest.mark.parametrize("rows", [simulated(), of_people()], ids=["simulator", "people"])


def lion(*arguments: str) -> str:
    found = CliRunner().invoke(main, list(arguments), env={"COLUMNS": "80"})
    assert found.exit_code == 0, found.stderr
    return found.stdout


def written(folder: Path, rows: list[Instruction], monkeypatch: pytest.MonkeyPatch) -> None:
    """Write two iterations: half of the pool, then all of it, each row judged."""
    for key, part in (("1", rows[: len(rows) // 2]), ("2", rows)):
        project(folder, key, part, [verdict(row.id, 3.0) for row in part])
    monkeypatch.chdir(folder)


@POOLS
def test_show_finds_a_domain_by_its_name_and_by_a_rows_own_label(
    rows: list[Instruction], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that it prints as JSON keep the labels by which parents are drawn."""
    written(tmp_path, rows, monkeypatch)
    by_name: dict[str, list[str]] = {}
    for row in rows:
        assert row.domain is not None
        for name in {row.domain, domain_name(row.domain)}:
            by_name.setdefault(name.upper(), []).append(row.id)
    assert {"WRITING", "OTHER REQUESTS", "LATIN"} <= by_name.keys()
    labels = {row.id: row.domain for row in rows}
    for name, ids in by_name.items():
        found = lion("show", "2", "--domain", name, "--json", "-n", "0").splitlines()
        shown = [json.loads(line) for line in found]
        assert [row["id"] for row in shown] == ids, name
        assert [row["domain"] for row in shown] == [labels[one] for one in ids]


def test_domains_of_a_pool_of_people_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, of_people(), monkeypatch)
    for name in set(OF_PEOPLE.values()):
        found = lion("show", "2", "--domain", name, "--json").splitlines()
        texts = [json.loads(line)["instruction"] for line in found]
        assert texts == [text for text, about in OF_PEOPLE.items() if about == name]
    nothing = CliRunner().invoke(main, ["show", "2", "--domain", "Law"])
    told = " ".join(nothing.stderr.split())
    assert "(theirs: ordering, other requests, other scripts, questions, writing)" in told


@POOLS
def test_no_name_of_a_script_is_printed_for_people(
    rows: list[Instruction], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, rows, monkeypatch)
    heads = [line for line in lion("show", "2", "-n", "0").splitlines() if ", iteration " in line]
    labels = [shown_label(row.domain or "") for row in rows]
    assert not SCRIPTS & set(labels)
    assert [head.split("  ")[1] for head in heads] == [
        f"seed, iteration 0, {label}" for label in labels
    ]
    for row, label in list(zip(rows, labels, strict=True))[:9]:
        told = lion("trace", row.id, "--at", "2").splitlines()
        assert told[:2] == [row.id, f"seed, iteration 0, {label}"]


@POOLS
@pytest.mark.parametrize("option", ["--samples=0", "--md"])
def test_a_comparison_counts_rows_by_domains_that_can_be_read(
    rows: list[Instruction], option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, rows, monkeypatch)
    names = [domain_name(row.domain or "") for row in rows]
    after, before = Counter(names), Counter(names[: len(rows) // 2])
    lines = [
        line.replace("|", " ").replace("`", "").split()
        for line in lion("diff", "1", "2", option).splitlines()
    ]
    for name, count in after.items():
        added = count - before[name]
        assert [*name.split(), *map(str, (before[name], count, added, 0))] in lines
    assert not any(script in line[:1] for line in lines for script in topic_labels._SCRIPTS)
    groups = json.loads(lion("diff", "1", "2", "--json"))["groups"]
    assert {one["name"] for one in groups if one["by"] == "domain"} == {r.domain for r in rows}
