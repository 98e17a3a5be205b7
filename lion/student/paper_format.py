r"""The authors' two prompt formats, for a tokenizer without a chat template and on request.

`paper` is that of the camera-ready code (YJiangcm/Lion, October 2023): no preamble, and a newline
behind `### Response:`. `paper-v1` is that of June 2023: Alpaca's preamble before it. In both a turn
that contains `\n\n### Input:\n` has the authors' block of an input. Pure.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, get_args

from lion.records.rows import Message

PaperFormat = Literal["paper", "paper-v1"]
PAPER_FORMATS: tuple[PaperFormat, ...] = get_args(PaperFormat)

INPUT = "\n\n### Input:\n"
"""What stands between an instruction and its input, within one turn."""

PREAMBLE = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
"""The text above an instruction in `paper-v1` (from Alpaca); a system turn replaces it."""

INPUT_PREAMBLE = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request."
)
"""The same where the first turn has an input."""

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "system": "### System:\n",
        "user": "### Instruction:\n",
        "assistant": "### Response:\n",
    }
)
_HEADER_LIKE = re.compile(r"^(?=\\*### (?:System|Instruction|Response):)", re.MULTILINE)


def paper_prompt(messages: Sequence[Message], version: PaperFormat = "paper") -> str:
    r"""Return the generation prompt in the authors' format, which ends with `### Response:\n`.

    A system turn at the start has no header; it replaces the preamble. A content line that looks
    like a header gets a leading backslash (one more where it has some), so different conversations
    never render alike.
    """
    turns = list(messages)
    if turns and turns[0]["role"] == "system":
        opening = [_escape(turns.pop(0)["content"])]
    else:
        opening = [_preamble(turns)] if version == "paper-v1" else []
    parts = [f"{HEADERS[turn['role']]}{_escape(turn['content'])}" for turn in turns]
    return "\n\n".join([*opening, *parts, HEADERS["assistant"]])


def _preamble(turns: Sequence[Message]) -> str:
    with_input = bool(turns) and INPUT in turns[0]["content"]
    return INPUT_PREAMBLE if with_input else PREAMBLE


def _escape(content: str) -> str:
    return _HEADER_LIKE.sub(r"\\", content)
