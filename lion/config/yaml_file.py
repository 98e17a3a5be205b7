"""A YAML file as DVC reads it: YAML 1.2's scalars, no key twice, UTF-8.

DVC reads params.yaml by YAML 1.2 (through ruamel.yaml), PyYAML by 1.1. Read by 1.1, `1e-4` is a
text, `on` is true and `010` is 8, and DVC would compare other values than the run used. The
patterns are those of the core schema (YAML 1.2.2, section 10.3.2) with ruamel.yaml's underscores
and `0b`. Decides no meaning of keys.
"""

import re
from collections.abc import Hashable
from pathlib import Path

import yaml

from lion.errors import SettingsError


class _Loader(yaml.SafeLoader):
    """A SafeLoader of YAML 1.2 that refuses a repeated key, where YAML keeps the last one."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own mapping, filled below

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        """Build one mapping. Raises yaml.YAMLError for a key that stands twice."""
        seen: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # <<: what the base class merges may be overridden beside it
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # the base class refuses it, with its place
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_SCALARS = {
    # tag: its pattern, and the first characters that it can have
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "float": (
        r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|[-+]?\.[0-9_]+(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "int": (
        r"[-+]?0b[01_]+|[-+]?0o[0-7_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?[0-9][0-9_]*",
        "-+0123456789",
    ),
    "merge": (r"<<", "<"),
    "null": (r"~|null|Null|NULL|", "~nN"),
    "timestamp": (
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
        r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}.*",
        "0123456789",
    ),
}


class _LockLoader(yaml.CSafeLoader):
    """The same scalars, six times as fast: for files that DVC writes, where no key stands twice."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own mapping, filled below


for _tag, (_pattern, _first) in _SCALARS.items():
    for _each in (_Loader, _LockLoader):
        _each.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}",
            re.compile(rf"(?:{_pattern})\Z"),
            [*_first, ""] if _tag == "null" else list(_first),
        )


def _integer(loader: yaml.SafeLoader | yaml.CSafeLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    digits = text.lstrip("+-")
    base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2], 10)
    return int(digits, base) * (-1 if text.startswith("-") else 1)


def _date(_: yaml.SafeLoader, node: yaml.ScalarNode) -> object:
    raise yaml.constructor.ConstructorError(
        None, None, f"{node.value} is a date in YAML; put it in quotes", node.start_mark
    )


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_LockLoader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _date)  # DVC cannot hash one


def read_yaml(path: Path) -> object:
    """Return the document of a YAML file; None if the file is empty.

    Raises SettingsError if it is not UTF-8 or not YAML, and OSError if it cannot be opened.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), _Loader)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path}: not UTF-8 at byte {error.start + 1}; save the file as UTF-8"
        ) from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not readable as YAML: {error}") from error
    except RecursionError as error:
        raise SettingsError(f"{path}: nested too deeply to be read") from error
    except ValueError as error:  # an integer of thousands of digits
        raise SettingsError(f"{path}: not readable as YAML: {error}") from error


def parse_lock(content: bytes) -> object:
    """Return the document of a dvc.lock; None where it is no YAML."""
    try:
        return yaml.load(content, _LockLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError:
        return None
