"""Random-weight students of several architectures, and chat templates in the style of the wild."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertModel,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from lion.config.settings import Answering, Hardware, Student, Tune
from lion.records.rows import Instruction
from lion.student import checkpoint

# Matrices this small gain nothing from threads, which wait for each other beside other work.
torch.set_num_threads(1)

TEXTS = [
    "Reverse the letters: c a f b",
    "b f a c",
    "What is 17 plus 25? 42",
    "You are terse. Say yes or no.",
    "def f(x):\n    return x  # naïve",
]

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% elif m['role'] == 'assistant' %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
ZEPHYR = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
PHI = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

TEMPLATES: dict[str, tuple[str, str]] = {
    "llama3": (LLAMA3, "<|eot_id|>"),
    "chatml": (CHATML, "<|im_end|>"),
    "gemma": (GEMMA, "<end_of_turn>"),
    "mistral": (MISTRAL, "</s>"),
    "zephyr": (ZEPHYR, "</s>"),
    "phi": (PHI, "<|end|>"),
}
"""Template and the token that ends its turns, by style."""

_CONTROL = [
    "<s>",
    "</s>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|im_start|>",
    "<|im_end|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|end|>",
]


def tokenizer(chat_template: str | None = CHATML, **options: Any) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE that knows every control token above."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=_CONTROL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    options = {"bos_token": "<s>", "eos_token": "</s>", **options}
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=chat_template,
        additional_special_tokens=_CONTROL[2:],
        **options,
    )
    return made


_SIZES: dict[str, Any] = {
    "vocab_size": 340,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
_KEY_VALUE = {"num_key_value_heads": 2}


def _gpt2() -> GPT2LMHeadModel:
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 48, "vocab_size": 340}
    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "initializer_range": 0.2}
    return GPT2LMHeadModel(GPT2Config(**sizes, **still, bos_token_id=0, eos_token_id=1))


ARCHITECTURES: dict[str, Any] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_SIZES, **_KEY_VALUE)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_SIZES, **_KEY_VALUE)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_SIZES, **_KEY_VALUE, head_dim=8)),
    "gemma": lambda: GemmaForCausalLM(GemmaConfig(**_SIZES, **_KEY_VALUE, head_dim=8)),
    "neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**_SIZES)),
    "gpt2": _gpt2,
}


def model(architecture: str = "llama", seed: int = 0) -> Any:
    """Draw a model's weights from `seed`."""
    torch.manual_seed(seed)
    return ARCHITECTURES[architecture]().eval()


def folder(path: Path, architecture: str = "llama", template: str | None = CHATML) -> Path:
    """Write a student to `path` and return it."""
    checkpoint.save(model(architecture), tokenizer(template), path)
    return path


def encoder(path: Path, seed: int = 0) -> Path:
    """Write a sentence encoder with drawn weights to `path`: the mean of its states."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    torch.manual_seed(seed)
    sizes = {key: value for key, value in _SIZES.items() if not key.endswith("_token_id")}
    BertModel(BertConfig(**sizes)).save_pretrained(path)
    tokenizer(None, pad_token="</s>").save_pretrained(path)
    body = Transformer(str(path))
    SentenceTransformer(modules=[body, Pooling(32, "mean")]).save(str(path))
    return path


def student_settings(**changes: Any) -> Student:
    """Return the section `student` with `changes`."""
    values = {
        "model": "embedded",
        "revision": None,
        "trust_remote_code": False,
        "prompt_format": "auto",
        "dtype": "float32",
        "threads": None,
        "endpoint": None,
    }
    return Student(**{**values, **changes})


def answering_settings(**changes: Any) -> Answering:
    """Return the section `answering` with `changes`."""
    values = {
        "temperature": 0.0,
        "form": "text",
        "max_tokens": 8,
        "batch_size": 3,
        "batch_tokens": None,
        "engine": "auto",
        "processes": None,
    }
    return Answering(**{**values, **changes})


def tune_settings(**changes: Any) -> Tune:
    """Return the section `tune` with `changes`."""
    values = {
        "method": "full",
        "optimizer": "adamw",
        "learning_rate": 0.003,
        "matrix_learning_rate": None,
        "schedule": "cosine",
        "warmup": 0.1,
        "weight_decay": 0.0,
        "clip": 1.0,
        "epochs": None,
        "steps": 6,
        "batch_size": 4,
        "max_length": 64,
        "too_long": "drop",
        "max_dropped": 1.0,
        "replay": 0.0,
        "replay_choice": "uniform",
        "lora_rank": 4,
        "gradient_checkpointing": False,
        "validation_share": 0.0,
        "stop_after": None,
        "prompt": "same",
    }
    return Tune(**{**values, **changes})


def hardware(**changes: Any) -> Hardware:
    """Return the section `hardware` with `changes`, those of `launcher` among them."""
    launcher = {"processes": 1, "machines": 1, "main_address": None, "config": None, "start": []}
    values = {"micro_batch": None, "packing": "auto", "save_every": None, "keep_students": "all"}
    for name, value in changes.items():
        (launcher if name in launcher else values)[name] = value
    return Hardware.model_validate({**values, "launcher": launcher})


def instruction(content: str) -> Instruction:
    """Return a single user turn as an instruction."""
    return Instruction.new([{"role": "user", "content": content}], origin="seed", iteration="0")
