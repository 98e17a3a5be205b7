"""A student exported as one checkpoint: merged weights, chat template and stop tokens.

`from_pretrained`, vLLM and converters to GGUF read the folder. The model card is `model_card`'s.
"""

from pathlib import Path
from typing import Any

from lion.config.settings import Student
from lion.errors import ModelError
from lion.student import checkpoint as students
from lion.student.chat_format import PREAMBLE, ChatFormatter

# The paper's format (chat_format.paper_prompt) in Jinja: a content line that looks like a header
# gets a leading backslash. Of such lines that already have backslashes, it covers those with one.
_ESCAPED = (
    "{%- macro text(content) -%}{%- set ns = namespace(it='\\n' + content) -%}"
    "{%- for name in ['System', 'Instruction', 'Response'] -%}"
    "{%- set ns.it = ns.it.replace('\\n\\\\### ' + name + ':', '\\n\\\\\\\\### ' + name + ':')"
    ".replace('\\n### ' + name + ':', '\\n\\\\### ' + name + ':') -%}"
    "{%- endfor -%}{{- ns.it[1:] -}}{%- endmacro -%}"
)
_PAPER = (
    "{%- set first = messages[0] -%}"
    "{%- if first['role'] == 'system' -%}{{- text(first['content']) -}}"
    "{%- else -%}{{- 'PREAMBLE' -}}{%- endif -%}"
    "{%- for turn in messages -%}"
    "{%- if turn['role'] == 'user' -%}"
    "{{- '\\n\\n### Instruction:\\n' + text(turn['content']) -}}"
    "{%- elif turn['role'] == 'assistant' -%}"
    "{{- '\\n\\n### Response:' + text(turn['content']) -}}"
    "{%- if loop.last -%}{{- eos_token -}}{%- endif -%}"
    "{%- elif not loop.first -%}"
    "{{- '\\n\\n### System:\\n' + text(turn['content']) -}}"
    "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '\\n\\n### Response:' -}}{%- endif -%}"
)


def export_student(student: Path, settings: Student, out: Path) -> None:
    """Write the student of folder `student`, merged, to `out`, complete or not at all.

    The tokenizer has the chat template of the training, generation_config.json the tokens that end
    a response. Raises ModelError where `out` exists.
    """
    from transformers import GenerationConfig

    refuse_taken(out)
    model = students.load_model(student, settings)
    tokenizer: Any = students.load_tokenizer(student, settings)
    encoder = ChatFormatter(tokenizer, settings.prompt_format)
    # a server renders what the student was trained on: its clock stands still too
    template = encoder.template
    tokenizer.chat_template = paper_template(tokenizer) if template is None else template.text
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]  # transformers'
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=encoder.stops,
        pad_token_id=tokenizer.pad_token_id,
    )
    students.save(model, tokenizer, out)


def refuse_taken(out: Path) -> None:
    """Raise ModelError where `out` is a file, or a folder that is not empty."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ModelError(f"{out} is there already. Name another folder, or remove it.")


def paper_template(tokenizer: Any) -> str:
    """Return the paper's format as a chat template, with the tokenizer's opening token if any."""
    ids = tokenizer("a").input_ids
    opens = bool(ids) and ids[0] == tokenizer.bos_token_id
    opening = "{{- bos_token -}}" if opens else ""
    return _ESCAPED + opening + _PAPER.replace("PREAMBLE", PREAMBLE)
