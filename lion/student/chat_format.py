"""Chat formats: conversations as the student's tokens, and as text for other models.

Training and inference agree: *the prefix of a supervised example is exactly the generation prompt*.
The response's tokens and the end-of-turn token, at which generation stops, follow; only these are
supervised. Prompts follow the tokenizer's chat template, or one of the paper's formats
(`paper_format`).

Pure: the tokenizer is an argument, and torch and transformers are not imported. Long examples are
handled in `finetune`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from lion.errors import DataError, ModelError
from lion.records.rows import Message
from lion.student.chat_template import ChatTemplate, TemplateTokenizer
from lion.student.paper_format import PAPER_FORMATS, PaperFormat, paper_prompt

PromptFormat = Literal["auto", "paper", "paper-v1"]
RecordedFormat = PaperFormat | Literal["template"]
"""What a student's folder records: one of the paper's formats, or the tokenizer's template."""
TEMPLATE: Literal["template"] = "template"
RECORDED_FORMATS: tuple[RecordedFormat, ...] = (*PAPER_FORMATS, TEMPLATE)

_PROBE = "Answer"
_SHOWN = 10  # refused conversations that one message lists


class Tokenizer(TemplateTokenizer, Protocol):
    """The methods of `transformers.PreTrainedTokenizerBase` that are used here."""

    eos_token_id: int | None

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """Added tokens by id, each with `.special`."""

    def __call__(self, text: Any, **options: Any) -> Any:
        """Encode a text or a list of texts; the result has `input_ids`."""

    def decode(self, token_ids: Any, **options: Any) -> Any:
        """Return the text of token ids."""


@dataclass(frozen=True, slots=True)
class Example:
    """A supervised example: the loss is over `input_ids[prompt_length:]` only."""

    id: str
    input_ids: tuple[int, ...]
    prompt_length: int


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with each system text prepended to the next user turn."""
    folded: list[Message] = []
    pending: list[str] = []
    for turn in messages:
        if turn["role"] == "system":
            pending.append(turn["content"])
        elif turn["role"] == "user" and pending:
            folded.append({"role": "user", "content": "\n\n".join([*pending, turn["content"]])})
            pending = []
        else:
            folded.append(turn)
    return folded


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason why a conversation cannot be rendered."""

    reason: str


class ChatFormatter:
    """Encodes prompts and examples for a tokenizer in one format, in batches for speed.

    `end_of_turn` is the id of the token after a response, in training and in generation. Raises
    ModelError where the tokenizer has none, or no template that can be used.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_format: PromptFormat) -> None:
        self._tokenizer = tokenizer
        templated = prompt_format == "auto" and bool(tokenizer.chat_template)
        self.template = ChatTemplate(tokenizer) if templated else None
        self._version: PaperFormat = "paper" if prompt_format == "auto" else prompt_format
        added = (token.content for token in tokenizer.added_tokens_decoder.values())
        self._control = re.compile("|".join(map(re.escape, added)) or r"(?!)")
        self.end_of_turn = self._find_end_of_turn()

    @property
    def tokenizer(self) -> Tokenizer:
        """The student's tokenizer."""
        return self._tokenizer

    @property
    def stops(self) -> list[int]:
        """The ids of the tokens that end an answer: end of turn and end of sequence."""
        eos = self._tokenizer.eos_token_id
        return sorted({self.end_of_turn, self.end_of_turn if eos is None else eos})

    @property
    def paper_format(self) -> PaperFormat | None:
        """The paper's format that prompts follow; None for the tokenizer's chat template."""
        return self._version if self.template is None else None

    @property
    def recorded(self) -> RecordedFormat:
        """What the folder of a student tuned in this format records."""
        return self.paper_format or TEMPLATE

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of a response's tokens, without outer white space.

        Nothing is tidied up: of some tokenizers transformers would drop spaces before punctuation.
        """
        return self._raw(tokens).strip()

    def token_ends(self, tokens: Sequence[int]) -> list[int]:
        """Return where each token ends in the text of `decode`, in characters.

        By encoding the text again, in one call; where that gives other tokens, or the tokenizer
        tells no places, by decoding each beginning.
        """
        raw = self._raw(tokens)
        leading, length = len(raw) - len(raw.lstrip()), len(raw.strip())
        ends = self._encoded_ends(raw, tokens) or [
            len(self._raw(tokens[: place + 1])) for place in range(len(tokens))
        ]
        return [min(max(end - leading, 0), length) for end in ends]

    def _encoded_ends(self, raw: str, tokens: Sequence[int]) -> list[int] | None:
        if not getattr(self._tokenizer, "is_fast", False):
            return None
        again = self._tokenizer(raw, add_special_tokens=False, return_offsets_mapping=True)
        same = list(again.input_ids) == list(tokens)
        return [end for _, end in again.offset_mapping] if same else None

    def _raw(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the generation prompt's token ids. Raises DataError if the template refuses."""
        return self.prompts([messages])[0]

    def prompts(self, conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
        """Return the generation prompts' token ids, in order.

        Raises DataError that names the conversations which the template refuses.
        """
        encoded = self.try_prompts(conversations)
        refused = [
            (messages, prompt)
            for messages, prompt in zip(conversations, encoded, strict=True)
            if isinstance(prompt, Refusal)
        ]
        if refused:
            raise _refusal_error(refused)
        return [prompt for prompt in encoded if not isinstance(prompt, Refusal)]

    def try_prompts(self, conversations: Sequence[Sequence[Message]]) -> list[list[int] | Refusal]:
        """Return for each conversation the token ids of its generation prompt, or a `Refusal`."""
        if self.template is None:
            version = self._version
            return [self._encode_plain(paper_prompt(turns, version)) for turns in conversations]
        encoded: list[list[int] | Refusal] = []
        texts: list[str] = []  # encoded together, which is much faster
        places: list[int] = []
        for place, messages in enumerate(conversations):
            encoded.append([])
            try:
                turns, text = self._rendered(self.template, messages)
            except DataError as error:
                encoded[place] = Refusal(str(error))
                continue
            if self._has_control_tokens(messages):
                encoded[place] = self._encode_sanitized(self.template, turns)
            else:
                texts.append(text)
                places.append(place)
        for place, ids in zip(places, self._encode_rendered(texts), strict=True):
            encoded[place] = ids
        return encoded

    def example(self, id: str, messages: Sequence[Message], response: str) -> Example:
        """Return the supervised example of `response` to the conversation `messages`."""
        return self.examples([(id, messages, response)])[0]

    def examples(self, rows: Sequence[tuple[str, Sequence[Message], str]]) -> list[Example]:
        """Return the supervised examples of (id, messages, response), in order."""
        if not rows:
            return []
        prompts = self.prompts([messages for _, messages, _ in rows])
        # Control tokens in a response are encoded as text too.
        answers = self._tokenizer(
            [response for _, _, response in rows],
            add_special_tokens=False,
            split_special_tokens=True,
        ).input_ids
        return [
            Example(id, (*prompt, *answer, self.end_of_turn), len(prompt))
            for (id, _, _), prompt, answer in zip(rows, prompts, answers, strict=True)
        ]

    def turns(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages, folded where the template does not support their system turn.

        Raises DataError if the template refuses.
        """
        if self.template is None:
            return list(messages)
        try:
            return self._rendered(self.template, messages)[0]
        except DataError as error:
            raise _refusal_error([(messages, Refusal(str(error)))]) from error

    def _rendered(
        self, template: ChatTemplate, messages: Sequence[Message]
    ) -> tuple[list[Message], str]:
        """Return the turns as the template takes them, and the generation prompt's text.

        Some templates refuse a system turn, some leave it out, some take it at the start only.
        Raises DataError with the reason.
        """
        try:
            return list(messages), template.render(messages, generation=True)
        except DataError:
            if all(turn["role"] != "system" for turn in messages):
                raise
        folded = fold_system(messages)
        return folded, template.render(folded, generation=True)

    def _has_control_tokens(self, messages: Sequence[Message]) -> bool:
        """Return whether a turn contains `<|im_end|>` or the like, which must not close it.

        Encoding is three times slower where such tokens are encoded as text.
        """
        return any(self._control.search(turn["content"]) for turn in messages)

    def _encode_rendered(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode texts whose template has written the start token."""
        if not texts:
            return []
        ids: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False).input_ids
        return ids

    def _encode_sanitized(self, template: ChatTemplate, turns: Sequence[Message]) -> list[int]:
        """Encode a conversation whose control tokens are text, those of the template excepted."""
        ids: list[int] = self._tokenizer.apply_chat_template(
            template.contents(turns),
            add_generation_prompt=True,
            return_dict=False,
            sanitize_control_tokens=True,
            **template.options,
        )
        return ids

    def _encode_plain(self, text: str) -> list[int]:
        """Encode with the tokenizer's start token, without the end token that some append.

        The format has no control tokens, so those in a text are text.
        """
        ids: list[int] = list(self._tokenizer(text, split_special_tokens=True).input_ids)
        while ids and ids[-1] == self._tokenizer.eos_token_id:
            ids.pop()
        return ids

    def _find_end_of_turn(self) -> int:
        """Return the special token after an assistant's text in the template, else eos."""
        if self.template is not None:
            tail = _after_answer(self.template).lstrip()
            ids = self._tokenizer(tail, add_special_tokens=False).input_ids if tail else []
            added = self._tokenizer.added_tokens_decoder
            if ids and ids[0] in added and added[ids[0]].special:
                return int(ids[0])
        if self._tokenizer.eos_token_id is None:
            raise ModelError(
                "the student's tokenizer has no end-of-sequence token, so its answers would not "
                "end. Set `eos_token` in its tokenizer_config.json."
            )
        return self._tokenizer.eos_token_id


def _refusal_error(refused: Sequence[tuple[Sequence[Message], Refusal]]) -> DataError:
    shown = [
        f"a conversation ({refusal.reason}): {messages[-1]['content']!r:.80}"
        for messages, refusal in refused[:_SHOWN]
    ]
    more = len(refused) - len(shown)
    listed = "; ".join([*shown, *([f"and {more} more"] if more else [])])
    return DataError(
        f"the student's chat template refuses {listed}. Fix its turns, or set "
        "`student.prompt_format: paper`."
    )


def _after_answer(template: ChatTemplate) -> str:
    """Return what the template writes after an assistant's turn, or "" if it refuses one."""
    turns: list[Message] = [
        {"role": "user", "content": "Question"},
        {"role": "assistant", "content": _PROBE},
    ]
    try:
        text = template.render(turns, generation=False)
    except DataError:
        return ""
    return text.rpartition(_PROBE)[2]
