"""Writes command-line.md and parameters.md in docs/reference from the code.

    python docs/reference.py            # write them
    python docs/reference.py --check    # exit code 1 if one is out of date

Commands come from their own help, parameters from params.yaml (value and comment) and from
lion/config/settings.py (type and bounds), so nothing here is written by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from lion.cli import main as cli
from lion.config.settings import Settings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
COMMANDS = """# Command line

Written by `python docs/reference.py` from the code, not by hand. Each command has `--help`, too.
"""
PARAMETERS = """# Parameters

Written by `python docs/reference.py` from the code, not by hand. Each parameter is in `params.yaml`
once; the value here is that of the profile `default`. Unknown keys are refused. `referee` and
`generator` have the keys of `teacher`; of these, only those that differ are listed.
"""
# the ones that nearly every project sets, in the order in which a new user meets them
FIRST = (
    "teacher.base_url",
    "teacher.model",
    "teacher.api_key_env",
    "teacher.request",
    "student.model",
    "task.fields",
    "seed.source",
    "exam.file",
    "exam.scorer",
    "review.judge",
    "generate.hard",
    "tune.method",
    "tune.learning_rate",
    "budget.usd",
    "iterations",
)
HEADER = "| parameter | type | value | meaning |\n|---|---|---|---|"
_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def pages() -> dict[str, str]:
    """Return each page as Markdown, by its name."""
    return {
        "command-line.md": "\n".join([COMMANDS, *commands(cli, "lion"), ""]),
        "parameters.md": "\n".join([PARAMETERS, *parameters(), ""]),
    }


def commands(command: click.Command, name: str) -> Iterator[str]:
    """Yield a section for each command below this one, with its help as the terminal shows it."""
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for one in command.list_commands(context):
            found = command.get_command(context, one)
            assert found is not None  # it was listed
            yield from commands(found, f"{name} {one}")
        return
    context = click.Context(
        command, info_name=name, terminal_width=88, max_content_width=88, help_option_names=[]
    )
    yield f"## {name}\n\n```text\n{command.get_help(context)}\n```\n"


def parameters() -> Iterator[str]:
    """Yield a table of the parameters in `FIRST`, then one of the others."""
    written = YAML().load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    schema = Settings.model_json_schema()
    found = list(leaves(written))
    values = {path: value for path, value, _ in found}
    rows = {
        path: row(schema, path, value, meaning)
        for path, value, meaning in found
        if meaning or not same_as_teacher(path, values)
    }
    first = [rows.pop(path) for path in FIRST]
    yield from ("## The fifteen that matter first\n", HEADER, *first, "")
    yield from ("## The others\n", HEADER, *rows.values())


def same_as_teacher(path: str, values: dict[str, object]) -> bool:
    """Return whether a key of referee or generator has the value of the teacher's."""
    role, _, key = path.partition(".")
    return role in ("referee", "generator") and values[path] == values.get(f"teacher.{key}")


def row(schema: dict[str, Any], path: str, value: object, meaning: str) -> str:
    """Return the line of one parameter in a table."""
    kind = brief(typed(schema, schema, path.split(".")), meaning)
    cells = (f"`{path}`", kind, f"`{shown(value)}`", meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def brief(kind: str, meaning: str) -> str:
    """Return a type that does not list the choices which its meaning lists, too."""
    kinds = kind.split(", ")
    choices = [name for name in kinds if name.startswith("`")]
    if not choices or any(name.strip("`") not in meaning for name in choices):
        return kind
    return ", ".join(["choice", *(name for name in kinds if name not in choices)])


def leaves(written: CommentedMap, above: str = "") -> Iterator[tuple[str, Any, str]]:
    """Yield path, value and comment of what params.yaml has on one line of its own."""
    for name, value in written.items():
        path = f"{above}{name}"
        nested = isinstance(value, CommentedMap) and value and not value.fa.flow_style()
        if nested and path not in ("iterations", "base"):
            yield from leaves(value, f"{path}.")
        else:
            yield path, value, comment(written, name)


def comment(written: CommentedMap, name: str) -> str:
    """Return what stands behind a value, after the hash."""
    tokens = written.ca.items.get(name)
    found = tokens[2] if tokens else None
    return found.value.split("\n")[0].strip().lstrip("#").strip() if found else ""


def shown(value: object) -> str:
    """Return a value as YAML has it in one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, CommentedMap):
        return "{" + ", ".join(f"{key}: {shown(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(shown(one) for one in value) + "]"
    return str(value)


def typed(schema: dict[str, Any], whole: dict[str, Any], path: list[str]) -> str:
    """Return the type at `path` in words, with its bounds."""
    schema = followed(schema, whole)
    if path and "properties" in schema:
        return typed(schema["properties"].get(path[0], {}), whole, path[1:])
    if "anyOf" in schema:
        kinds = [typed(one, whole, []) for one in schema["anyOf"]]
        return ", ".join(dict.fromkeys(kind for kind in kinds if kind))
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    bounds = [f"{sign} {schema[key]:g}" for key, sign in _BOUNDS.items() if key in schema]
    return " ".join([schema.get("type", "any").replace("object", "mapping"), *bounds])


def followed(schema: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Return what a `$ref` points at, else the schema itself."""
    if "$ref" in schema:
        return followed(whole["$defs"][schema["$ref"].rsplit("/", 1)[1]], whole)
    return schema


def main() -> None:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    for name, text in pages().items():
        if not check:
            (FOLDER / name).write_text(text, encoding="utf-8")
        elif (FOLDER / name).read_text(encoding="utf-8") != text:
            sys.exit(f"{name} is out of date: run `python docs/reference.py`")


if __name__ == "__main__":
    main()
