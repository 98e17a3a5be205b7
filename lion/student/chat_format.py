"""Chat formats: conversations as the student's tokens, and as text for other models.

Training and inference agree: *the prefix of a supervised example is exactly the generation prompt*.
The response's tokens and the end-of-turn token, at which generation stops, follow; only these are
supervised. There are two formats: the tokenizer's chat template, and the paper's
(`### Instruction:` / `### Response:`) for a tokenizer without a template.

Pure: the tokenizer is an argument, and torch and transformers are not imported. Long examples are
handled in `finetune`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from jinja2 import TemplateError

from lion.errors import DataError, ModelError
from lion.records.rows import Message

PromptFormat = Literal["auto", "paper"]

PREAMBLE = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
"""The authors' text above an instruction (from Alpaca); a system turn replaces it."""

_HEADERS: dict[str, str] = {
    "system": "### System:",
    "user": "### Instruction:",
    "assistant": "### Response:",
}
_HEADER_LIKE = re.compile(r"^(?=\\*### (?:System|Instruction|Response):)", re.MULTILINE)

# Llama 3's template writes today's date into the prompt, so prompts would change every day. This is
# the template's own default date. Other templates ignore the variable.
_TEMPLATE_VARIABLES = {"date_string": "26 Jul 2024"}
_PROBE = "Answer"


class Tokenizer(Protocol):
    """The methods of `transformers.PreTrainedTokenizerBase` that are used here."""

    chat_template: Any
    eos_token_id: int | None

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """Added tokens by id, each with `.special`."""

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Render and encode a conversation."""

    def __call__(self, text: Any, **options: Any) -> Any:
        """Encode a text or a list of texts; the result has `input_ids`."""


@dataclass(frozen=True, slots=True)
class Example:
    """A supervised example: the loss is over `input_ids[prompt_length:]` only."""

    id: str
    input_ids: tuple[int, ...]
    prompt_length: int


def paper_prompt(messages: Sequence[Message]) -> str:
    r"""Return the generation prompt in the authors' format, which ends with `### Response:`.

    A system turn at the start replaces the preamble. A content line that looks like a header gets a
    leading backslash (one more where it has some), so different conversations never render alike.
    """
    opening, turns = PREAMBLE, list(messages)
    if turns and turns[0]["role"] == "system":
        opening = _escape(turns.pop(0)["content"])
    parts = [opening]
    for turn in turns:
        # The authors' format: the response on the line of its header, the instruction below it.
        gap = "" if turn["role"] == "assistant" else "\n"
        parts.append(f"{_HEADERS[turn['role']]}{gap}{_escape(turn['content'])}")
    return "\n\n".join([*parts, _HEADERS["assistant"]])


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


class ChatFormatter:
    """Encodes prompts and examples for a tokenizer in one format, in batches for speed.

    `end_of_turn` is the id of the token after a response, in training and in generation. Raises
    ModelError where the tokenizer has none.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_format: PromptFormat) -> None:
        self._tokenizer = tokenizer
        self._templated = prompt_format == "auto" and tokenizer.chat_template is not None
        added = (token.content for token in tokenizer.added_tokens_decoder.values())
        self._control = re.compile("|".join(map(re.escape, added)) or r"(?!)")
        self.end_of_turn = self._find_end_of_turn()

    @property
    def stops(self) -> list[int]:
        """The ids of the tokens that end an answer: end of turn and end of sequence."""
        return sorted({self.end_of_turn, self._tokenizer.eos_token_id or self.end_of_turn})

    @property
    def templated(self) -> bool:
        """Whether prompts follow the tokenizer's chat template, not the paper's format."""
        return self._templated

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the generation prompt's token ids. Raises DataError if the template refuses."""
        return self.prompts([messages])[0]

    def prompts(self, conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
        """Return the generation prompts' token ids, in order. Raises DataError as `prompt` does."""
        if not conversations:
            return []
        if not self._templated:
            return [self._encode_plain(paper_prompt(messages)) for messages in conversations]
        turns = [self.turns(messages) for messages in conversations]
        try:
            ids: list[list[int]] = self._tokenizer.apply_chat_template(
                turns,
                add_generation_prompt=True,
                return_dict=False,
                sanitize_control_tokens=self._has_control_tokens(conversations),
                **_TEMPLATE_VARIABLES,
            )
        except TemplateError as error:
            if len(conversations) > 1:
                return [self.prompt(messages) for messages in conversations]
            raise DataError(
                f"the student's chat template refuses a conversation ({error}): "
                f"{conversations[0][-1]['content']!r:.80}. Mend its turns, or set "
                "`student.prompt_format: paper`."
            ) from error
        return ids

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

    def _has_control_tokens(self, conversations: Sequence[Sequence[Message]]) -> bool:
        """Return whether a turn contains `<|im_end|>` or the like, which must not close it.

        Encoding is three times slower where such tokens are encoded as text.
        """
        return any(
            self._control.search(turn["content"]) for messages in conversations for turn in messages
        )

    def turns(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages, folded where the template does not support their system turn."""
        if not self._templated:
            return list(messages)
        has_system = any(turn["role"] == "system" for turn in messages)
        if has_system and not self._keeps_system(messages):
            return fold_system(messages)
        return list(messages)

    def _encode_plain(self, text: str) -> list[int]:
        """Encode with the tokenizer's start token, without the end token that some append."""
        ids: list[int] = list(self._tokenizer(text).input_ids)
        while ids and ids[-1] == self._tokenizer.eos_token_id:
            ids.pop()
        return ids

    def _keeps_system(self, messages: Sequence[Message]) -> bool:
        """Return whether the template renders system turns: some refuse them, some omit them."""
        try:
            text = self._render(messages)
        except TemplateError:
            return False
        return all(turn["content"] in text for turn in messages if turn["role"] == "system")

    def _render(self, messages: Sequence[Message]) -> str:
        text: str = self._tokenizer.apply_chat_template(
            list(messages), tokenize=False, **_TEMPLATE_VARIABLES
        )
        return text

    def _find_end_of_turn(self) -> int:
        """Return the special token after an assistant's text in the template, else eos."""
        if self._templated:
            tail = self._after_answer().lstrip()
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

    def _after_answer(self) -> str:
        turns: list[Message] = [
            {"role": "user", "content": "Question"},
            {"role": "assistant", "content": _PROBE},
        ]
        _, probe, tail = self._render(turns).rpartition(_PROBE)
        return tail if probe else ""


def _escape(content: str) -> str:
    return _HEADER_LIKE.sub(r"\\", content)
