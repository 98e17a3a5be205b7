"""The law: an example's prefix is the generation prompt, and only the answer is supervised."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import CHATML, GEMMA, LLAMA3, TEMPLATES, tokenizer

from lion.conversations import transcript
from lion.errors import DataError, ModelError
from lion.records.rows import Message, Role
from lion.student.chat_format import ChatFormatter, fold_system
from lion.student.paper_format import (
    INPUT_PREAMBLE,
    PAPER_FORMATS,
    PREAMBLE,
    PaperFormat,
    paper_prompt,
)


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}


def system(content: str) -> Message:
    return {"role": "system", "content": content}


CONVERSATIONS: dict[str, list[Message]] = {
    "one turn": [user("Reverse the letters: c a f b")],
    "three turns": [user("What is 17 plus 25?"), assistant("42"), user("Say yes or no.")],
    "system": [system("You are terse."), user("Say yes or no.")],
}
STYLES = [(name, *TEMPLATES[name]) for name in TEMPLATES] + [("paper", None, "</s>")]


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
@pytest.mark.parametrize(("style", "template", "end"), STYLES, ids=[s[0] for s in STYLES])
def test_an_example_is_generation_prompt_then_response_then_end_of_turn(
    style: str, template: str | None, end: str, messages: list[Message]
) -> None:
    tok = tokenizer(template)
    encoder = ChatFormatter(tok, "auto")
    example = encoder.example("x", messages, "b f a c")
    prompt, supervised = (
        list(example.input_ids[: example.prompt_length]),
        list(example.input_ids[example.prompt_length :]),
    )
    assert prompt == encoder.prompt(messages)
    assert supervised == [*tok("b f a c").input_ids, tok.convert_tokens_to_ids(end)]
    assert supervised[-1] == encoder.end_of_turn
    rendered = tok.decode(prompt)
    for turn in messages:
        assert turn["content"] in rendered, f"{style} lost a {turn['role']} turn"


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_prompt_is_what_the_template_itself_renders(name: str) -> None:
    tok = tokenizer(TEMPLATES[name][0])
    messages = CONVERSATIONS["three turns"]
    rendered = tok.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert ChatFormatter(tok, "auto").prompt(messages) == tok(rendered).input_ids


def test_exactly_these_tokens_are_supervised() -> None:
    tok = tokenizer(LLAMA3)
    example = ChatFormatter(tok, "auto").example("x", [user("Say yes or no.")], "yes")
    assert tok.decode(example.input_ids[: example.prompt_length]) == (
        "<s><|start_header_id|>user<|end_header_id|>\n\nSay yes or no.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert tok.decode(example.input_ids[example.prompt_length :]) == "yes<|eot_id|>"


def test_many_at_once_are_encoded_as_one_by_one() -> None:
    encoder = ChatFormatter(tokenizer(CHATML), "auto")
    rows = [(name, messages, f"to {name}") for name, messages in CONVERSATIONS.items()]
    assert encoder.examples(rows) == [encoder.example(*row) for row in rows]
    assert encoder.examples([]) == []
    assert encoder.prompts([]) == []


def test_a_control_token_in_an_instruction_or_a_response_stays_text() -> None:
    tok = tokenizer(CHATML)
    encoder = ChatFormatter(tok, "auto")
    example = encoder.example("x", [user("Say <|im_end|> now")], "<|im_end|> is said")
    assert "<|im_end|>" in tok.decode(example.input_ids[: example.prompt_length])
    ends = [place for place, token in enumerate(example.input_ids) if token == encoder.end_of_turn]
    assert len(ends) == 2, "the template's own end of the user turn, and the end of the answer"
    assert ends[-1] == len(example.input_ids) - 1


def test_a_template_that_refuses_or_drops_the_system_turn_gets_it_in_the_user_turn() -> None:
    drops = (
        "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] }}{% endif %}"
        "{% endfor %}"
    )
    for template in (GEMMA, drops):
        tok = tokenizer(template)
        prompt = ChatFormatter(tok, "auto").prompt(CONVERSATIONS["system"])
        assert "You are terse.\n\nSay yes or no." in tok.decode(prompt)


def test_folding_keeps_every_text_in_order() -> None:
    messages = [system("a"), system("b"), user("c"), assistant("d"), user("e")]
    assert fold_system(messages) == [user("a\n\nb\n\nc"), assistant("d"), user("e")]


def test_a_conversation_that_the_template_refuses_is_named() -> None:
    encoder = ChatFormatter(tokenizer(GEMMA), "auto")
    with pytest.raises(DataError, match=r"Roles must alternate.*second.*Fix its turns"):
        encoder.prompts([[user("fine")], [user("first"), user("second")]])


def test_a_tokenizer_without_an_end_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no end-of-sequence token.*Set `eos_token`"):
        ChatFormatter(tokenizer(None, eos_token=None), "auto")


@pytest.mark.parametrize(
    ("version", "content", "prompt"),
    [
        # YJiangcm/Lion: src/train.py of 13 October 2023, and of 12 June 2023
        ("paper", "Say yes.", "### Instruction:\nSay yes.\n\n### Response:\n"),
        (
            "paper",
            "Add.\n\n### Input:\n1",
            "### Instruction:\nAdd.\n\n### Input:\n1\n\n### Response:\n",
        ),
        ("paper-v1", "Say yes.", f"{PREAMBLE}\n\n### Instruction:\nSay yes.\n\n### Response:\n"),
        (
            "paper-v1",
            "Add.\n\n### Input:\n1",
            f"{INPUT_PREAMBLE}\n\n### Instruction:\nAdd.\n\n### Input:\n1\n\n### Response:\n",
        ),
    ],
)
def test_the_paper_formats_are_the_authors(version: PaperFormat, content: str, prompt: str) -> None:
    assert paper_prompt([user(content)], version) == prompt
    tok = tokenizer(CHATML)
    assert tok.decode(ChatFormatter(tok, version).prompt([user(content)])).endswith("Response:\n")


def test_today_does_not_change_the_prompt() -> None:
    dated = "{{ date_string if date_string is defined else strftime_now('%d %b %Y') }}"
    tok = tokenizer(dated + CHATML)
    assert tok.decode(ChatFormatter(tok, "auto").prompt([user("x")])).startswith("26 Jul 2024")


roles: st.SearchStrategy[Role] = st.sampled_from(["user", "assistant"])
pieces = st.sampled_from(
    ["### Instruction:", "### Response:", "### System:", "\\", "\n", "\n\n", "a", "### ", " "]
)
contents = st.lists(pieces, max_size=6).map("".join)
turns = st.tuples(roles, contents)
_HEADER = re.compile(r"(?:^|\n\n)(### Instruction:\n|### Response:\n)")


def parse(prompt: str) -> list[tuple[str, str]]:
    """Read a prompt back: the oracle of unambiguity."""
    parts = _HEADER.split(prompt)[1:]
    assert parts[-2:] == ["### Response:\n", ""]
    read = []
    for header, body in zip(parts[:-2:2], parts[1:-2:2], strict=True):
        role = "user" if header.startswith("### I") else "assistant"
        read.append((role, re.sub(r"(?m)^\\(?=\\*### (?:System|Instruction|Response):)", "", body)))
    return read


@given(st.lists(turns, min_size=1, max_size=4))
def test_a_conversation_can_be_read_back_from_the_paper_format(
    conversation: list[tuple[Role, str]],
) -> None:
    messages: list[Message] = [{"role": role, "content": text} for role, text in conversation]
    for version in PAPER_FORMATS:
        assert parse(paper_prompt(messages, version)) == conversation


def test_a_transcript_of_one_turn_is_its_text() -> None:
    assert transcript([user("Say yes.")]) == "Say yes."
    assert transcript([system("Be terse."), user("a"), assistant("b"), user("c")]) == (
        "System: Be terse.\n\nUser: a\n\nAssistant: b\n\nUser: c"
    )
