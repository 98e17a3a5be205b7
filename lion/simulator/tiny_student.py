"""The tiny student: an untrained Llama and its tokenizer, as a Hugging Face checkpoint.

Only the tokenizer is trained here. The sizes come from experiments on two CPU cores; a larger,
deeper or half-precision model was no better.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lion.student import checkpoint

VOCABULARY = 512
CONTEXT = 512
PAD, SYSTEM, USER, ASSISTANT, END = SPECIAL_TOKENS = (
    "<pad>",
    "<system>",
    "<user>",
    "<assistant>",
    "<end>",
)
# Only an answer has an end token: one token less in each of 12,000 short prompts.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<' + message['role'] + '>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}<end>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def build(folder: Path, texts: Sequence[str], random_seed: int) -> None:
    """Write the untrained student to `folder`, which appears complete or not at all.

    The tokenizer is trained on `texts` (instructions); the weights are a function of
    `random_seed`. Equal arguments write equal bytes.
    """
    tokenizer = build_tokenizer(texts)
    checkpoint.save(build_model(tokenizer, random_seed), tokenizer, folder)


def build_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE of 512 tokens, trained on `texts`, with a token per digit.

    Decoding restores any text without outer white space. A word has the same token at the start of
    a text as inside it, so the first letter of an answer has the token that the prompt contains.
    The space is added before digits are split; in the other order every digit would get a space.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.ByteLevel(add_prefix_space=True), pre_tokenizers.Digits(True)]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers'
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, random_seed: int) -> LlamaForCausalLM:
    """Return the untrained Llama of about 0.45 million parameters, drawn from `random_seed`."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=8,
        intermediate_size=320,
        max_position_embeddings=CONTEXT,
        # For prompts of tens of tokens, a base of 10,000 separates positions too little.
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
        initializer_range=0.08,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_seed)
        return LlamaForCausalLM(config)
