"""New instructions as they come back: taken, or dropped for a reason that is counted."""

import pytest
from fixtures import ROOT, Configure

from lion.prompting import generator, templates
from lion.prompting.protocol import Failure, Reply
from lion.records.rows import KINDS, Dropped

TEMPLATES = templates.load(ROOT / "prompts/generator", "generator")
GOOD = "Name three rivers of France."


def found(
    configure: Configure, text: str, finish_reason: str = "stop", **changes: object
) -> str | Dropped:
    settings = configure({f"generate.{key}": value for key, value in changes.items()}).generate
    return generator.candidate(Reply(text, finish_reason, "m", None), "p" * 16, settings)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (GOOD, GOOD),
        (f"\n {GOOD}\n\n", GOOD),
        (f"New instruction: {GOOD}", GOOD),
        (f"**New Instruction:** {GOOD}", GOOD),
        (f"The new prompt:\n{GOOD}", GOOD),
        (f"# Rewritten task:\n\n{GOOD}", GOOD),
        ("Write an instruction manual for a lamp.", "Write an instruction manual for a lamp."),
        ("Add a new instruction: STOP, to this CPU.", "Add a new instruction: STOP, to this CPU."),
        ("Übersetze den Satz ins Englische: Guten Tag.",) * 2,
        ("请写一首关于秋天的诗",) * 2,
        ("`x = 1`: what does this line do?",) * 2,
        ("Line one,\n\n  line two is indented.",) * 2,
    ],
)
def test_a_new_instruction_is_taken(configure: Configure, text: str, kept: str) -> None:
    assert found(configure, text) == kept


@pytest.mark.parametrize(
    ("text", "finish_reason", "changes", "reason"),
    [
        (GOOD[:12], "length", {}, "truncated"),
        (GOOD, "content_filter", {}, "content_filter"),
        ("New instruction:", "stop", {"min_words": 0}, "malformed"),
        ("Say yes \x00 or no please", "stop", {}, "malformed"),
        ("Name three rivers", "stop", {}, "too_short"),
        ("... - !! ??", "stop", {}, "too_short"),
        ('"Name three rivers of France."', "stop", {"ascii_start": True}, "start"),
        ("Übersetze den Satz ins Englische.", "stop", {"ascii_start": True}, "start"),
        ("Like the given instruction, name three rivers.", "stop", {}, "own_prompt"),
        ("Improve the GIVEN PROMPT a little bit.", "stop", {}, "own_prompt"),
    ],
)
def test_what_is_none_is_dropped_with_its_reason_and_its_text(
    configure: Configure, text: str, finish_reason: str, changes: dict[str, object], reason: str
) -> None:
    dropped = found(configure, text, finish_reason, **changes)
    assert dropped == Dropped("generate", reason, id="p" * 16, text=text)


def test_min_words_counts_words(configure: Configure) -> None:
    assert isinstance(found(configure, "Name two rivers", min_words=4), Dropped)
    assert found(configure, "Name two long rivers", min_words=4) == "Name two long rivers"


def test_a_failure_keeps_its_reason(configure: Configure) -> None:
    settings = configure({}).generate
    dropped = generator.candidate(Failure("http_500", "down"), "a", settings)
    assert dropped == Dropped("generate", "http_500", id="a", detail="down")


def test_hard_and_easy_are_asked_for_differently() -> None:
    asked = {kind: generator.generation_request("2+2 = $x?", kind, TEMPLATES, 5) for kind in KINDS}
    texts = {kind: asked[kind].messages[-1]["content"] for kind in KINDS}
    assert "same domain and the same task type" in texts["hard"]
    assert "rarer" in texts["easy"]
    for kind in KINDS:
        assert "\n2+2 = $x?\n" in texts[kind]
        assert asked[kind].sample == 5
        assert asked[kind].messages[0]["role"] == "system"
