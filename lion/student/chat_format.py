"""How a conversation becomes the student's tokens, and text for whoever reads it.

One law joins training and answering: *the prefix of a supervised example is exactly the generation
prompt*; then come the response's tokens and the end-of-turn token at which generation stops, and
only these two are supervised. Two formats: the tokenizer's own chat template, and the paper's
(`### Instruction:` / `### Response:`) for a model without one.

Pure: a tokenizer comes in as an argument, and nothing here imports torch or transformers. Long
examples are neither cut nor dropped here (see `tuning`).
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
"""What the authors (after Alpaca) write above an instruction; a system turn takes its place."""

_HEADERS: dict[str, str] = {
    "system": "### System:",
    "user": "### Instruction:",
    "assistant": "### Response:",
}
_HEADER_LIKE = re.compile(r"^(?=\\*### (?:System|Instruction|Response):)", re.MULTILINE)
_LABELS: dict[str, str] = {"system": "System", "user": "User", "assistant": "Assistant"}

# Llama 3 writes today's date into its prompt, and tomorrow's prompt would be another one: this is
# the date that its template itself names where no clock is at hand. Others ignore the variable.
_TEMPLATE_VARIABLES = {"date_string": "26 Jul 2024"}
_PROBE = "Answer"


class Tokenizer(Protocol):
    """The part of `transformers.PreTrainedTokenizerBase` that is used here."""

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
    """A supervised example: the loss falls on `input_ids[prompt_length:]` alone."""

    id: str
    input_ids: tuple[int, ...]
    prompt_length: int


def transcript(messages: Sequence[Message]) -> str:
    """Return the conversation as a referee or a generator is shown it.

    A single user turn is its content as it is; anything else becomes role-labelled turns.
    """
    if len(messages) == 1 and messages[0]["role"] == "user":
        return messages[0]["content"]
    return "\n\n".join(f"{_LABELS[turn['role']]}: {turn['content']}" for turn in messages)


def paper_prompt(messages: Sequence[Message]) -> str:
    r"""Return the generation prompt in the authors' format, which ends with `### Response:`.

    An opening system turn replaces the preamble. A line of content that looks like one of the
    headers gets a leading backslash (and one more where it has some), so that two conversations
    never render alike.
    """
    opening, turns = PREAMBLE, list(messages)
    if turns and turns[0]["role"] == "system":
        opening = _escape(turns.pop(0)["content"])
    parts = [opening]
    for turn in turns:
        # The authors set the response right behind its header, the instruction on its own line.
        gap = "" if turn["role"] == "assistant" else "\n"
        parts.append(f"{_HEADERS[turn['role']]}{gap}{_escape(turn['content'])}")
    return "\n\n".join([*parts, _HEADERS["assistant"]])


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with each system text set above the user turn that follows it."""
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
    """Encodes prompts and examples for one tokenizer in one format; many at once, for speed.

    `end_of_turn` is the id of the token that closes a response, in training and in generation.
    Raises ModelError where the tokenizer has none.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_format: PromptFormat) -> None:
        self._tokenizer = tokenizer
        self._templated = prompt_format == "auto" and tokenizer.chat_template is not None
        added = (token.content for token in tokenizer.added_tokens_decoder.values())
        self._control = re.compile("|".join(map(re.escape, added)) or r"(?!)")
        self.end_of_turn = self._find_end_of_turn()

    @property
    def stops(self) -> list[int]:
        """The tokens at which an answer ends: the end of a turn, and that of a sequence."""
        return sorted({self.end_of_turn, self._tokenizer.eos_token_id or self.end_of_turn})

    @property
    def templated(self) -> bool:
        """Whether the tokenizer's chat template writes the prompts, not the paper's format."""
        return self._templated

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the generation prompt's token ids. Raises DataError where the template refuses."""
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
                sanitize_control_tokens=self._hold_control_tokens(conversations),
                **_TEMPLATE_VARIABLES,
            )
        except TemplateError as error:
            if len(conversations) > 1:
                return [self.prompt(messages) for messages in conversations]
            raise DataError(
                f"the student's chat template refuses a conversation ({error}): "
                f"{transcript(conversations[0])!r:.80}. Mend its turns, or set "
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
        # Control tokens that stand in a response are text as well.
        answers = self._tokenizer(
            [response for _, _, response in rows],
            add_special_tokens=False,
            split_special_tokens=True,
        ).input_ids
        return [
            Example(id, (*prompt, *answer, self.end_of_turn), len(prompt))
            for (id, _, _), prompt, answer in zip(rows, prompts, answers, strict=True)
        ]

    def _hold_control_tokens(self, conversations: Sequence[Sequence[Message]]) -> bool:
        """Tell whether `<|im_end|>` or the like is written in a turn, which must not close it.

        Keeping such tokens apart from the template's makes encoding three times slower.
        """
        return any(
            self._control.search(turn["content"]) for messages in conversations for turn in messages
        )

    def turns(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages, folded where the template does not take their system turn."""
        if not self._templated:
            return list(messages)
        has_system = any(turn["role"] == "system" for turn in messages)
        if has_system and not self._keeps_system(messages):
            return fold_system(messages)
        return list(messages)

    def _encode_plain(self, text: str) -> list[int]:
        """Encode with the tokenizer's opening token, without the closing one that some append."""
        ids: list[int] = list(self._tokenizer(text).input_ids)
        while ids and ids[-1] == self._tokenizer.eos_token_id:
            ids.pop()
        return ids

    def _keeps_system(self, messages: Sequence[Message]) -> bool:
        """Tell whether the template takes a system turn: some refuse it, some leave it out."""
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
        """Return the special token that follows an assistant's text in the template, else eos."""
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
        _, found, tail = self._render(turns).rpartition(_PROBE)
        return tail if found else ""


def _escape(content: str) -> str:
    return _HEADER_LIKE.sub(r"\\", content)
