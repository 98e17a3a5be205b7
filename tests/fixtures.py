"""Fixtures that conftest.py offers to every file: a scrubbed environment, settings, a server."""

import copy
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from fake_server import ChatServer

from lion.config.settings import Settings
from lion.config.validation import read_settings

ROOT = Path(__file__).parents[1]

# how long an example takes is the machine's matter, and others may use it
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

Configure = Callable[..., Settings]


@pytest.fixture(scope="session", autouse=True)
def _scrubbed() -> Iterator[None]:
    """No key, no address and no proxy of whoever runs the tests reaches them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("OPENAI_", "DVC_")) or name.lower().endswith("_proxy"):
                patch.delenv(name)
        yield


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    with ChatServer.running() as server:
        yield server


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    """Return the repository's params.yaml, parsed, with a referee as judge; read only.

    The referee is the paper's judge and the one that asks; `override` sets another.
    """
    found: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return override(found, {"review.judge": "referee"})


def override(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `document` with values set at dotted keys."""
    changed = copy.deepcopy(dict(document))
    for name, value in changes.items():
        *sections, key = name.split(".")
        place = changed
        for section in sections:
            place = place[section]
        place[key] = value
    return changed


@pytest.fixture(scope="session")
def settings(document: dict[str, Any]) -> Settings:
    """Return the settings that the repository comes with."""
    return read_settings(document)


@pytest.fixture(scope="session")
def configure(document: dict[str, Any]) -> Configure:
    """Return a maker of settings with dotted keys overridden, as {"split.tau": 2.0}."""

    def made(changes: Mapping[str, Any]) -> Settings:
        return read_settings(override(document, changes))

    return made


class Workplace:
    """A project's folder of its own: params.yaml and prompts/ as in the repository."""

    def __init__(self, path: Path, document: dict[str, Any]) -> None:
        self.path = path
        self._document = document
        shutil.copytree(ROOT / "prompts", path / "prompts")
        (path / "inputs").mkdir()
        (path / "seeds").mkdir()
        shutil.copy(ROOT / "params.yaml", path)

    def params(self, changes: Mapping[str, Any]) -> Settings:
        """Write params.yaml with dotted keys overridden."""
        changed = override(self._document, changes)
        text = yaml.safe_dump(changed, sort_keys=False)
        (self.path / "params.yaml").write_text(text, encoding="utf-8")
        return read_settings(changed)


@pytest.fixture
def workplace(
    tmp_path: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Workplace:
    """Make a project's folder the working folder."""
    made = Workplace(tmp_path, document)
    monkeypatch.chdir(tmp_path)
    return made
