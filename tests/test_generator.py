"""New instructions as they come back: taken, or dropped for a reason that is counted."""

import time

import pytest
from fixtures import ROOT, Configure
from real_text import SHARED, real_rows

from lion.prompting import generator, generator_reply, templates
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


REFUSALS = {
    "happy, but": "I'd be happy to help, but I can't create that.",
    "appreciates": "I appreciate it, but I must decline to create an instruction like this.",
    "not something": "Unfortunately, that's not something I can do.",
    "rather not": "Sorry, but I'd rather not write a prompt on weapons.",
    "thanks": "Thank you for asking! However, I am not able to produce such an instruction.",
    "violates": "My apologies, this violates the content policy.",
    "declines": "I must respectfully decline.",
    "we": "We cannot fulfil this request.",
    "in brackets": "[Refused]",
    "Chinese, I": "\u6211\u5f88\u62b1\u6b49\uff0c\u6211\u65e0\u6cd5\u534f\u52a9\u3002",
    "refusal 1": "I'm sorry, but I can't help with that request.",
    "refusal curly": "I\u2019m sorry, but I can\u2019t assist with that.",
    "refusal 2": "I cannot create an instruction on this topic.",
    "refusal 3": "I apologize, but I am unable to fulfill this request.",
    "refusal 4": "As an AI language model, I cannot write such an instruction.",
    "refusal 5": "Sorry, I can't comply with that.",
    "refusal 6": "I can't help with that. Is there something else you would like?",
    "refusal 7": "Unfortunately, I am not able to create this kind of prompt.",
    "refusal 8": "I must decline to write this instruction.",
    "refusal de": "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "refusal fr": "Je suis d\xe9sol\xe9, mais je ne peux pas vous aider.",
    "refusal es": "Lo siento, pero no puedo ayudar con eso.",
    "refusal zh": "\u62b1\u6b49\uff0c\u6211\u65e0\u6cd5\u6ee1\u8db3\u8fd9\u4e2a\u8bf7\u6c42\u3002",
    "refusal guidelines": "This request goes against my guidelines, so I won't write it.",
    "clarify": "It seems that the given input is empty. Could you provide the instruction?",
    "clarify2": "Please provide the instruction that you would like me to rewrite.",
}

WRAPPED = {
    "preface 1": f"Here is a new instruction:\n\n{GOOD}",
    "preface 2": f"Sure! Here's a new instruction: {GOOD}",
    "preface 3": f"Certainly! Here is a rarer task in the same domain:\n\n{GOOD}",
    "preface 4": f'Sure, here is the rewritten prompt:\n\n"{GOOD}"',
    "preface 5": f"Of course! Here's one:\n{GOOD}",
    "preface 6": f"Here's a new instruction for you:\n\n**{GOOD}**",
    "preface 7": f"Okay, here is my instruction.\n\n{GOOD}",
    "quotes": f'"{GOOD}"',
    "curly quotes": f"\u201c{GOOD}\u201d",
    "numbered": f"1. {GOOD}",
    "bullet": f"- {GOOD}",
    "bold": f"**{GOOD}**",
    "fenced": f"```\n{GOOD}\n```",
    "label": f"Instruction: {GOOD}",
    "label bold": f"**Instruction:** {GOOD}",
    "label heading": f"### Instruction\n{GOOD}",
    "label prompt": f"Prompt: {GOOD}",
    "#New Prompt#": f"#Rewritten Prompt#:\n{GOOD}",
    "#Created Prompt#": f"#Created Prompt#\n{GOOD}",
    "New Instruction no colon": f"New instruction\n\n{GOOD}",
    "[New instruction]": f"[New instruction]\n{GOOD}",
    "[New instruction abcd1234]": f"[New instruction 1a2b3c4d]\n{GOOD}\n[End 1a2b3c4d]",
    "offer": f"{GOOD}\n\nLet me know if you would like another one!",
    "offer2": f"{GOOD}\n\nI hope this helps!",
    "offer3": f"{GOOD}\n\nWould you like me to generate more?",
    "note": f"{GOOD}\n\n(Note: this is rarer than the given one.)",
    "note2": f"{GOOD}\n\n---\nThis instruction is rarer, since rivers seldom come.",
    "sure": f"Sure!\n\n{GOOD}",
}

SEVERAL = {
    "several": f"1. {GOOD}\n2. Name two lakes of Italy.\n3. Name a sea of Asia.",
    "several labelled": f"Instruction 1: {GOOD}\nInstruction 2: Name two lakes of Italy.",
    "several blank": f"New instruction 1:\n{GOOD}\n\nNew instruction 2:\nName two lakes.",
    "with answer": f"Instruction: {GOOD}\nInput: none\nOutput: Seine, Loire, Rhone.",
}

INSTRUCTIONS = {
    "not refusal 1": "Write an email that begins with \"I'm sorry, I can't come\".",
    "not refusal 2": "I can't sleep at night. What should I do?",
    "not refusal 3": "I'm sorry to hear about your loss. Rewrite this sentence in a warmer tone.",
    "not refusal 4": "I cannot open the lid of a jar. Suggest three ways to do it.",
    "not refusal 5": "Sorry is a song by Justin Bieber. Summarise its lyrics.",
    "not refusal 6": "As an AI researcher, explain overfitting to a child.",
    "not refusal 7": "I am unable to attend the meeting on Monday. Write an apology to my boss.",
    "not refusal 8": "Please provide three examples of metaphors.",
    "list kept": "Answer these questions:\n1. Who?\n2. What?",
    "numbered steps": "1. Read the text.\n2. Summarise it in one line.\n\nText: Rain fell.",
    "quoted begin only": '"Romeo and Juliet" was written by whom, and when?',
    "two quotes": '"Yes" or "no": is Paris in France? Say "yes"',
    "story begin": "Here is a new instruction manual: summarise its use.",
    "letter": "Dear team,\n\nI am sorry to announce that we move.\n\nRewrite this letter.",
}


@pytest.mark.parametrize("text", REFUSALS.values(), ids=REFUSALS)
def test_a_polite_refusal_is_no_instruction(configure: Configure, text: str) -> None:
    assert found(configure, text) == Dropped("generate", "refusal", id="p" * 16, text=text)


@pytest.mark.parametrize("text", WRAPPED.values(), ids=WRAPPED)
def test_what_a_model_says_around_an_instruction_is_left_out(
    configure: Configure, text: str
) -> None:
    assert found(configure, text) == GOOD


@pytest.mark.parametrize("text", SEVERAL.values(), ids=SEVERAL)
def test_several_instructions_or_one_with_its_answer_are_none(
    configure: Configure, text: str
) -> None:
    assert found(configure, text) == Dropped("generate", "several", id="p" * 16, text=text)


@pytest.mark.parametrize("text", INSTRUCTIONS.values(), ids=INSTRUCTIONS)
def test_an_instruction_that_sounds_like_a_refusal_or_a_list_is_taken(
    configure: Configure, text: str
) -> None:
    assert found(configure, text) == text


@pytest.mark.parametrize("text", [*WRAPPED.values(), *SEVERAL.values()])
def test_the_fields_of_a_task_are_taken_as_they_are(configure: Configure, text: str) -> None:
    """A customer's mail may be a list, in quotation marks, or end in an offer."""
    settings = configure({}).generate
    reply = Reply(text, "stop", "m", None)
    assert generator.candidate(reply, "p" * 16, settings, fields=True) in (text, GOOD)


def test_real_instructions_are_taken_as_they_are() -> None:
    """Of 18,719, alone and with their inputs: none is changed, none called a refusal or several."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: the real instructions are not part of the project")
    texts = {text for row in real_rows(SHARED) for text in (row[0], "\n\n".join(row)) if row[0]}
    for text in (text.strip() for text in texts):
        assert generator_reply.instruction_of(text) == text
        assert not generator_reply.refuses(text)
        assert not generator_reply.holds_several(text)


LONG = ["-" * 50_000, "\n" * 50_000 + "x", "---\n\n" * 10_000, "1. " * 20_000, "Sure! " * 10_000]


@pytest.mark.parametrize("text", LONG)
def test_long_replies_are_read_at_once(text: str) -> None:
    began = time.thread_time()
    for read in (
        generator_reply.instruction_of,
        generator_reply.refuses,
        generator_reply.holds_several,
    ):
        read(text)
    assert time.thread_time() - began < 1


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
