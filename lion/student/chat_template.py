"""The chat template of a tokenizer as the student is trained on it: which one, when, in which form.

A tokenizer may have several named templates, a template may read the clock, and templates of
vision models iterate over the content of a turn as a list of parts. All three are settled here, so
that a conversation always renders alike and no turn is left out. Pure: the tokenizer is an
argument, and transformers is not imported.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from jinja2 import TemplateError, TemplateSyntaxError

from lion.errors import DataError, ModelError
from lion.records.rows import Message

TEMPLATE_ERRORS = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a template raises: it is a program, and refuses a conversation in any of these ways."""

DEFAULT = "default"
"""The name that transformers gives to the template of plain conversations."""

# Templates that show a date would change every prompt every day. Llama 3.1 has this one as its own
# default, under `date_string`; other templates ignore the variable.
_DAY = datetime(2024, 7, 26)
_CLOCK = "strftime_now"
_DIRECTIVES = ("-d", "-m", "-H", "-I", "-M", "-S", "-j", *"aAbBcdDeFGhHIjmMpRSTuUVwWxXyYzZf")
# Ends of a thinking part: Qwen and DeepSeek, Magistral, Kimi, Seed. Templates show the text behind.
_THINKING = re.compile(r".*(?:</think>|\[/THINK\]|◁/think▷|</seed:think>)", re.DOTALL)


class TemplateTokenizer(Protocol):
    """The part of `transformers.PreTrainedTokenizerBase` that renders conversations."""

    chat_template: Any

    @property
    def special_tokens_map(self) -> Mapping[str, Any]:
        """The texts of the special tokens that the tokenizer has, by name."""

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Render a conversation, and encode it unless `tokenize` is false."""


class ChatTemplate:
    """A tokenizer's template for plain conversations, with the clock standing still.

    `text` is the template. Raises ModelError where the tokenizer has several and none is for plain
    conversations, or where the template is no valid Jinja.
    """

    def __init__(self, tokenizer: TemplateTokenizer) -> None:
        self._tokenizer = tokenizer
        self.text = clock_stopped(plain_template(tokenizer.chat_template))
        # A template that adds an undefined token to a text fails; most print nothing for it.
        missing = {"bos_token", "eos_token"} - tokenizer.special_tokens_map.keys()
        self.options: dict[str, Any] = {
            "chat_template": self.text,
            "date_string": _DAY.strftime("%d %b %Y"),
            **dict.fromkeys(sorted(missing), ""),
        }
        self._parts = False
        self._parts = self._probed() is None and self._writes_parts()

    def render(self, turns: Sequence[Message], *, generation: bool) -> str:
        """Return the text of a conversation, with a generation prompt if `generation`.

        Raises DataError with the reason where the template refuses the conversation or leaves a
        turn out.
        """
        try:
            text: str = self._tokenizer.apply_chat_template(
                self.contents(turns),
                tokenize=False,
                add_generation_prompt=generation,
                **self.options,
            )
        except TEMPLATE_ERRORS as error:
            raise DataError(f"{error}" or type(error).__name__) from error
        missing = next((turn for turn in turns if not _stands(turn, text)), None)
        if missing is not None:
            raise DataError(f"it leaves out the {missing['role']} turn {missing['content']!r:.60}")
        return text

    def contents(self, turns: Sequence[Message]) -> list[Any]:
        """Return the turns with their content in the form that the template reads."""
        if not self._parts:
            return list(turns)
        return [
            {"role": turn["role"], "content": [{"type": "text", "text": turn["content"]}]}
            for turn in turns
        ]

    def _probed(self) -> str | None:
        """Return the rendering of a single turn, None where the template refuses it."""
        try:
            return self.render(_PROBE, generation=True)
        except DataError as error:
            if isinstance(error.__cause__, TemplateSyntaxError):
                raise ModelError(
                    f"the student's chat template is no valid Jinja: line {error.__cause__.lineno}:"
                    f" {error}. Fix it in the tokenizer's files, or set `student.prompt_format: "
                    "paper`."
                ) from error
            return None

    def _writes_parts(self) -> bool:
        """Return whether the template reads parts; one that prints the list does not."""
        self._parts = True
        text = self._probed()
        return text is not None and "'type'" not in text


_PROBE: list[Message] = [{"role": "user", "content": "Question"}]


def plain_template(templates: Any) -> str:
    """Return the template for plain conversations, of one template or of several by name.

    Raises ModelError where none of several is called `default`.
    """
    if isinstance(templates, str):
        return templates
    if len(templates) == 1:
        return str(next(iter(templates.values())))
    if DEFAULT not in templates:
        raise ModelError(
            f"the student's tokenizer has the chat templates {', '.join(sorted(templates))}, and "
            f"none is called `{DEFAULT}`. Save one of them as chat_template.jinja in its folder, "
            "or set `student.prompt_format: paper`."
        )
    return str(templates[DEFAULT])


def clock_stopped(template: str) -> str:
    """Return a template whose `strftime_now` always formats the midnight of 26 July 2024.

    A macro hides the function that transformers defines, so that servers which get the template
    render the same. Templates that do not read the clock are returned unchanged.
    """
    if _CLOCK not in template:
        return template
    chain = "".join(f" | replace('{name}', '{value}')" for name, value in _directives())
    macro = f"{{%- macro {_CLOCK}(format) -%}}{{{{- format{chain} -}}}}{{%- endmacro %}}\n"
    return template if template.startswith(macro) else macro + template


def _directives() -> Iterator[tuple[str, str]]:
    """Yield each directive of `strftime` with its value on the fixed day, in order."""
    yield "%%", "\\x00"  # no directive, whatever follows it
    for name in _DIRECTIVES:
        yield f"%{name}", _DAY.strftime(f"%{name}")
    yield "\\x00", "%"


def _stands(turn: Message, text: str) -> bool:
    """Return whether a rendering contains a turn; templates may strip it and its thinking."""
    content = turn["content"]
    if content in text or content.strip() in text:
        return True
    return turn["role"] == "assistant" and _THINKING.sub("", content).strip() in text
