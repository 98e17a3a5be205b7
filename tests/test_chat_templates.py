"""Templates as they are met in the field: named, with a clock, over parts, and refusing in any way.

The cases follow public issues of TRL, axolotl, LLaMA-Factory, unsloth and transformers; the
templates are written here.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from tiny import CHATML, GEMMA, tokenizer
from transformers.utils import chat_template_utils

from lion.errors import DataError, ModelError
from lion.records.rows import Message
from lion.student.chat_format import ChatFormatter, Refusal
from lion.student.chat_template import clock_stopped


def turns(*texts: tuple[Any, str]) -> list[Message]:
    return [{"role": role, "content": text} for role, text in texts]


THREE = turns(("user", "What is 17 plus 25?"), ("assistant", "42"), ("user", "Say yes or no."))
SYSTEM = turns(("system", "You are terse."), ("user", "Say yes or no."))


def rendered(template: Any, messages: list[Message], **options: Any) -> str:
    """Return the generation prompt as text, from its ids."""
    tok = tokenizer(template, **options)
    return str(tok.decode(ChatFormatter(tok, "auto").prompt(messages)))


def reason(template: Any, messages: list[Message], **options: Any) -> str:
    """Return the refusal of a conversation."""
    [prompt] = ChatFormatter(tokenizer(template, **options), "auto").try_prompts([messages])
    assert isinstance(prompt, Refusal), prompt
    return prompt.reason


_TURN = "{% for m in messages %}<|im_start|>{{ m.role }}\n"
_END = "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
PARTS = {
    "a loop with a test of the type": (
        "{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}"
    ),
    "a loop by keys": "{% for p in m['content'] %}{{ p['text'] }}{% endfor %}",
    "the first part": "{{ m.content[0].text }}",
    "the first part, joined": "{{ '' + m['content'][0]['text'] }}",
    "selectattr": (
        "{% for p in m.content | selectattr('type', 'equalto', 'text') %}{{ p.text }}{% endfor %}"
    ),
    "map and join": "{{ m.content | map(attribute='text') | join }}",
    "a refusal of texts": (
        "{% if m.content is string %}{{ raise_exception('parts, please') }}{% endif %}"
        "{{ m.content[0].text }}"
    ),
    "images counted before": (
        "{{ '<image>' * (m.content | selectattr('type', 'equalto', 'image') | list | length) }}"
        "{% for p in m.content if p.type == 'text' %}{{ p.text }}{% endfor %}"
    ),
    "text parts by membership": (
        "{% for p in m.content %}{% if 'text' in p and p is mapping %}{{ p.text }}{% endif %}"
        "{% endfor %}"
    ),
}


@pytest.mark.parametrize("body", PARTS.values(), ids=PARTS.keys())
@pytest.mark.parametrize("messages", [THREE, SYSTEM], ids=["three turns", "system"])
def test_a_template_over_parts_gets_parts(body: str, messages: list[Message]) -> None:
    """Before: every prompt was empty, or a traceback, and the student trained on it."""
    assert rendered(_TURN + body + _END, messages) == rendered(CHATML, messages)


def test_a_template_that_takes_both_gets_texts() -> None:
    both = (
        "{% if m.content is string %}T{{ m.content }}{% else %}P{{ m.content[0].text }}{% endif %}"
    )
    assert "TSay yes" in rendered(_TURN + both + _END, SYSTEM)


LEAVES_OUT = [
    ("{{ messages[-1].content }}", THREE, "user turn 'What is 17"),
    ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", THREE, "assistant"),
    ("{% for m in messages[1:] %}{{ m.content }}{% endfor %}", THREE, "user turn 'What is 17"),
    ("{% for m in messages %}{{ m.text }}{% endfor %}", THREE, "user turn"),
    ("{% for m in messages %}{{ m.content[:5] }}{% endfor %}", THREE, "user turn"),
    ("{% for m in messages %}{{ m.content.split(' ')[-1] }}{% endfor %}", SYSTEM, "user turn"),
    ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", SYSTEM, "user turn"),
    ("{% for m in messages %}{{ m.content | length }}{% endfor %}", SYSTEM, "user turn"),
    ("Hello!{% if add_generation_prompt %}<|im_start|>{% endif %}", THREE, "user turn"),
]


@pytest.mark.parametrize(("template", "messages", "missing"), LEAVES_OUT)
def test_a_turn_that_a_template_leaves_out_is_a_refusal(
    template: str, messages: list[Message], missing: str
) -> None:
    """Before: the student was trained on prompts without it."""
    assert reason(template, messages).startswith(f"it leaves out the {missing}")


def test_an_empty_template_is_none() -> None:
    """Before: every prompt was empty."""
    assert ChatFormatter(tokenizer(""), "auto").paper_format == "paper"


@pytest.mark.parametrize(
    "text",
    [
        "<think>hm\nso</think>\n\nthe answer",
        "so it is</think>the answer",
        "before <think>hm</think> the answer",
        "the answer",
    ],
)
def test_thinking_of_earlier_turns_may_be_stripped(text: str) -> None:
    strips = CHATML.replace("m['content']", "m['content'].split('</think>')[-1].strip()")
    messages = turns(("user", "Say it"), ("assistant", text), ("user", "And again"))
    prompt = rendered(strips, messages)
    assert "hm" not in prompt
    assert "<|im_start|>assistant\nthe answer<|im_end|>" in prompt


RAISES = {
    "raise_exception": "{{ raise_exception('no') }}",
    "UndefinedError": "{{ nothing.more }}",
    "TypeError": "{{ 1 + 'a' }}",
    "KeyError": "{{ {}.pop('a') }}",
    "IndexError": "{{ [].pop() }}",
    "ZeroDivisionError": "{{ 1 / 0 }}",
    "ValueError": "{{ 'a'.index('b') }}",
    "OverflowError": "{{ range(1000000) }}",
    "SecurityError": "{{ messages.__class__.x }}",
    "RecursionError": "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    "TemplateNotFound": "{% include 'other' %}",
}


@pytest.mark.parametrize("template", RAISES.values(), ids=RAISES.keys())
def test_whatever_a_template_raises_is_a_refusal(template: str) -> None:
    """Before: all but the first two were tracebacks after the teacher was paid."""
    two = CHATML + "{% if messages | length > 2 %}" + template + "{% endif %}"
    encoder = ChatFormatter(tokenizer(two), "auto")
    assert isinstance(encoder.try_prompts([THREE])[0], Refusal)
    assert not isinstance(encoder.try_prompts([SYSTEM])[0], Refusal)
    with pytest.raises(DataError, match=r"refuses a conversation.*Fix its turns"):
        encoder.turns(THREE)


def test_all_refused_conversations_are_named_at_once() -> None:
    """Before: one row a run."""
    encoder = ChatFormatter(tokenizer(GEMMA), "auto")
    bad = [turns(("user", "first"), ("user", f"second {number}")) for number in range(12)]
    with pytest.raises(DataError, match=r"'second 0'.*'second 9'; and 2 more\. Fix") as caught:
        encoder.prompts([THREE, *bad])
    assert "17 plus" not in str(caught.value)


def test_a_template_that_is_no_jinja_is_refused_with_its_line() -> None:
    with pytest.raises(ModelError, match=r"no valid Jinja: line 2: .*prompt_format: paper"):
        ChatFormatter(tokenizer("{# x #}\n{% for m in messages %}{{ m }"), "auto")


NAMED = {
    "default first": {"default": CHATML, "rag": "x"},
    "default last": {"tool_use": "x", "default": CHATML},
    "a single one": {"chat": CHATML},
}


@pytest.mark.parametrize("templates", NAMED.values(), ids=NAMED.keys())
def test_of_named_templates_the_default_is_used(templates: dict[str, str]) -> None:
    assert rendered(templates, THREE) == rendered(CHATML, THREE)


def test_named_templates_without_a_default_are_refused() -> None:
    with pytest.raises(ModelError, match=r"rag, tool_use, and none is called `default`. Save one"):
        ChatFormatter(tokenizer({"tool_use": CHATML, "rag": CHATML}), "auto")
    assert ChatFormatter(tokenizer({"tool_use": "", "rag": ""}), "paper").template is None


CLOCKS = [
    "{{ strftime_now('%d %b %Y') }}",
    "{{- strftime_now('%Y-%m-%d') }}",
    "{{ strftime_now('%B %-d, %Y') }}",
    "{{ strftime_now('%A, %d %B %Y %H:%M:%S') }}",
    "{%- set today = strftime_now('%e %b') %}{{ 'Today is ' + today }}",
    "{% macro day() %}{{ strftime_now('%j') }}{% endmacro %}{{ day() }}",
    "{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% endif %}",
    "{{ date_string if date_string is defined else strftime_now('%d %b %Y') }}",
    "{{ strftime_now(format='%I %p') }}",
    "{{ strftime_now('100%% %%d of %y') }}",
    "\n  {% if true %}{{ strftime_now('%c') }}{% endif %}\n  x",
]


class Clock(datetime):
    """A clock that the tests set."""

    instant = datetime(2024, 7, 26)

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # noqa: ARG003  # datetime's
        return cls.instant


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Clock]]:
    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    monkeypatch.setattr(Clock, "instant", datetime(2024, 7, 26))
    yield Clock


@pytest.mark.parametrize("dated", CLOCKS)
def test_the_clock_of_a_template_stands_still(dated: str, clock: type[Clock]) -> None:
    """The text is what the template itself writes on that day, white space included."""
    template = dated + CHATML
    tok = tokenizer(template)
    itself = tok.apply_chat_template(
        THREE, add_generation_prompt=True, tokenize=False, date_string="26 Jul 2024"
    )
    clock.instant = datetime(2031, 12, 9, 23, 59)
    assert tok.decode(ChatFormatter(tok, "auto").prompt(THREE)) == itself


def test_a_stopped_clock_is_stopped_once() -> None:
    stopped = clock_stopped(CLOCKS[0])
    assert stopped != CLOCKS[0]
    assert clock_stopped(stopped) == stopped
    assert clock_stopped(CHATML) == CHATML


ORDERS: dict[str, list[Message]] = {
    "user, user": turns(("user", "a"), ("user", "b")),
    "assistant first": turns(("assistant", "Welcome"), ("user", "b")),
    "assistant, assistant": turns(
        ("user", "a"), ("assistant", "b"), ("assistant", "c"), ("user", "d")
    ),
    "system, assistant": turns(("system", "s"), ("assistant", "b"), ("user", "d")),
    "two of a system": turns(("system", "s"), ("user", "a"), ("system", "t"), ("user", "b")),
}


@pytest.mark.parametrize("messages", ORDERS.values(), ids=ORDERS.keys())
def test_turns_that_do_not_alternate_are_refused_by_a_strict_template(
    messages: list[Message],
) -> None:
    assert reason(GEMMA, messages) == "Roles must alternate"
    assert not isinstance(
        ChatFormatter(tokenizer(CHATML), "auto").try_prompts([messages])[0], Refusal
    )


def test_a_system_turn_in_the_middle_is_folded_where_a_template_wants_alternation() -> None:
    messages = turns(("user", "a"), ("assistant", "b"), ("system", "Be terse."), ("user", "c"))
    assert "<start_of_turn>user\nBe terse.\n\nc<end_of_turn>" in rendered(GEMMA, messages)


@pytest.mark.parametrize(
    "template",
    [
        "{{ bos_token + 'x' }}",
        "{{ 'x' ~ bos_token }}",
        "{{ bos_token }}x",
        "{{ ('x', bos_token)[0] }}",
    ],
)
def test_a_tokenizer_without_a_start_token_has_none_in_its_prompts(template: str) -> None:
    """Before: `bos_token + ...` was an UndefinedError. Qwen's tokenizers have none."""
    assert rendered(template + CHATML, THREE, bos_token=None) == "x" + rendered(CHATML, THREE)


def test_an_end_of_sequence_with_id_zero_ends_an_answer() -> None:
    """Before: 0 counted as missing, and the end of the turn alone was a stop."""
    tok = tokenizer(CHATML, eos_token="<s>", bos_token=None)
    encoder = ChatFormatter(tok, "auto")
    assert encoder.stops == [0, tok.convert_tokens_to_ids("<|im_end|>")]


def test_a_template_that_adds_a_default_system_prompt_has_it_in_training_too() -> None:
    default = (
        "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    )
    tok = tokenizer(default + CHATML)
    encoder = ChatFormatter(tok, "auto")
    example = encoder.example("x", turns(("user", "Hello")), "yes")
    assert tok.decode(example.input_ids).startswith(
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_s"
    )
    assert "Be kind" not in tok.decode(encoder.prompt(SYSTEM))


def test_a_control_token_in_the_papers_format_stays_text() -> None:
    """Before: `</s>` in an instruction became the end of the sequence."""
    tok = tokenizer(None)
    encoder = ChatFormatter(tok, "paper")
    prompt = encoder.prompt(turns(("user", "Say </s> and <|im_end|>")))
    assert not {1, tok.convert_tokens_to_ids("<|im_end|>")} & set(prompt)
    assert "Say </s> and <|im_end|>" in tok.decode(prompt)
