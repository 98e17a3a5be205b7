"""The tiny student is an ordinary checkpoint whose tokenizer gives back what it is given."""

import hashlib
from pathlib import Path

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from lion.pipeline.checks import student as inspection
from lion.records.rows import canonical_text
from lion.simulator import tiny_student
from lion.student import checkpoint
from lion.student.chat_format import ChatFormatter

TEXTS = [
    f"{verb} the letters: {' '.join(letters)} {number}"
    for number, (verb, letters) in enumerate(
        (verb, letters)
        for verb in ("Reverse", "Sort", "Copy", "Rotate")
        for letters in ("cafb", "abdc", "ffa", "edcb", "badc")
    )
]
SETTINGS = tiny.student_settings()
TOKENIZER = tiny_student.build_tokenizer(TEXTS)


def there_and_back(text: str) -> str:
    ids = TOKENIZER(text, add_special_tokens=False, split_special_tokens=True).input_ids
    return str(TOKENIZER.decode(ids))


@pytest.mark.parametrize(
    "text",
    [
        "17 + 25 = 42",
        "2026",
        "7",
        "x1y22z333",
        "1 2 3",
        "3.14",
        "c a f b",
        "naïve 日本 🦁",
        "a\n\n b",
    ],
)
def test_a_text_comes_back_as_it_was(text: str) -> None:
    assert there_and_back(text) == text


@given(st.text().map(canonical_text).filter(lambda text: not text[:1].isspace()))
def test_any_canonical_text_comes_back_as_it_was(text: str) -> None:
    assert there_and_back(text) == text


def test_every_digit_stands_alone_and_gets_no_space() -> None:
    tokens = TOKENIZER.convert_ids_to_tokens(TOKENIZER("is 2026 a5").input_ids)
    assert "".join(tokens) == "Ġisġ2026Ġa5".replace("ġ", "Ġ")
    assert [token for token in tokens if any(c.isdigit() for c in token)] == list("20265")


def test_a_letter_is_one_token_wherever_it_stands() -> None:
    (first, *_), (*_, last) = TOKENIZER("a b c").input_ids, TOKENIZER("c b a").input_ids
    assert first == last


def test_the_folder_is_a_checkpoint_that_loads(tmp_path: Path) -> None:
    tiny_student.build(tmp_path / "base", TEXTS, 0)
    model, tokenizer = checkpoint.load_student(tmp_path / "base", SETTINGS)
    assert (
        inspection.checkpoint_problems(
            tiny.student_settings(model=str(tmp_path / "base")), ask_hub=False
        )
        == []
    )
    assert 400_000 < sum(weight.numel() for weight in model.parameters()) < 500_000
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert len(tokenizer) <= tiny_student.VOCABULARY
    assert tokenizer.model_max_length == model.config.max_position_embeddings
    assert model.config.rope_parameters["rope_theta"] == 100.0
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_turns_are_marked_and_only_the_answer_is_closed() -> None:
    encoder = ChatFormatter(TOKENIZER, "auto")
    messages = tiny.instruction("Sort the letters: c a b").messages
    example = encoder.example("x", messages, "a b c")
    tokens = TOKENIZER.convert_ids_to_tokens(example.input_ids)
    assert tokens[0] == "<user>"
    assert tokens[example.prompt_length - 1] == "<assistant>"
    assert tokens[-1] == "<end>"
    assert [token for token in tokens if token.startswith("<")] == [
        "<user>",
        "<assistant>",
        "<end>",
    ]
    assert encoder.end_of_turn == TOKENIZER.eos_token_id


def test_equal_seeds_write_equal_bytes(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    for name, seed in (("1", 5), ("2", 5), ("3", 6)):
        tiny_student.build(tmp_path / name, TEXTS, seed)
    assert torch.equal(torch.get_rng_state(), before), "drawing weights leaves others' draws alone"
    digests = [
        {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
        for folder in (tmp_path / "1", tmp_path / "2", tmp_path / "3")
    ]
    assert digests[0] == digests[1]
    changed = {name for name in digests[0] if digests[0][name] != digests[2][name]}
    assert changed == {"model.safetensors"}
