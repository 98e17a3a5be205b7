"""A student exported as one checkpoint: merged weights, chat template and stop tokens.

`from_pretrained`, vLLM and converters to GGUF read the folder. The model card is `model_card`'s.
"""

from pathlib import Path
from typing import Any

from lion.config.settings import Student
from lion.errors import ModelError
from lion.student import checkpoint as students
from lion.student.paper_format import HEADERS, INPUT, INPUT_PREAMBLE, PREAMBLE, PaperFormat
from lion.student.student_formatter import formatter_of, recorded_format

# The paper's formats (paper_format.paper_prompt) in Jinja: a content line that looks like a header
# gets a leading backslash. Of such lines that already have backslashes, it covers those with one.
_ESCAPED = (
    "{%- macro text(content) -%}{%- set ns = namespace(it='\\n' + content) -%}"
    "{%- for name in ['System', 'Instruction', 'Response'] -%}"
    "{%- set ns.it = ns.it.replace('\\n\\\\### ' + name + ':', '\\n\\\\\\\\### ' + name + ':')"
    ".replace('\\n### ' + name + ':', '\\n\\\\### ' + name + ':') -%}"
    "{%- endfor -%}{{- ns.it[1:] -}}{%- endmacro -%}"
)
_PAPER = (
    "{%- set ns = namespace(gap='') -%}{%- set first = messages[0] -%}"
    "{%- if first['role'] == 'system' -%}{{- text(first['content']) -}}{%- set ns.gap = '\n\n' -%}"
    "PREAMBLE{%- endif -%}"
    "{%- for turn in messages -%}{%- if turn['role'] != 'system' or not loop.first -%}"
    "{{- ns.gap + heads[turn['role']] + text(turn['content']) -}}{%- set ns.gap = '\n\n' -%}"
    "{%- endif -%}"
    "{%- if loop.last and turn['role'] == 'assistant' -%}{{- eos_token -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- ns.gap + heads['assistant'] -}}{%- endif -%}"
)
_PREAMBLES = (
    f"{{%- elif {INPUT!r} in first['content'] -%}}{{{{- {INPUT_PREAMBLE!r} -}}}}"
    "{%- set ns.gap = '\n\n' -%}"
    f"{{%- else -%}}{{{{- {PREAMBLE!r} -}}}}{{%- set ns.gap = '\n\n' -%}}"
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
    source = students.resolve(student)
    encoder = formatter_of(source, tokenizer, settings)
    # a server renders what the student was trained on: its clock stands still too
    template, written = encoder.template, encoder.paper_format
    if written is not None:
        tokenizer.chat_template = paper_template(tokenizer, written)
    elif template is not None:
        tokenizer.chat_template = template.text
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]  # transformers'
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=encoder.stops,
        pad_token_id=tokenizer.pad_token_id,
    )
    students.save(model, tokenizer, out, prompt_format=written or recorded_format(source))


def refuse_taken(out: Path) -> None:
    """Raise ModelError where `out` is a file, or a folder that is not empty."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ModelError(f"{out} is there already. Name another folder, or remove it.")


def paper_template(tokenizer: Any, version: PaperFormat) -> str:
    """Return a format of the paper as a chat template, behind the tokenizer's opening token."""
    ids = tokenizer("a").input_ids
    opens = bool(ids) and ids[0] == tokenizer.bos_token_id
    opening = "{{- bos_token -}}" if opens else ""
    heads = f"{{%- set heads = {dict(HEADERS)} -%}}"
    preambles = _PREAMBLES if version == "paper-v1" else ""
    return _ESCAPED + opening + heads + _PAPER.replace("PREAMBLE", preambles)
