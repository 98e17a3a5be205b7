"""Reads the fenced blocks of the project's Markdown files. Claims nothing itself."""

import re
from pathlib import Path

from pipeline import ROOT

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BEHIND = re.compile(r"\s{2,}#.*$")  # a remark

# not the changelog: it names parameters of earlier versions
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path, kind: str) -> list[str]:
    """Return the blocks of one language, as they stand."""
    found = _FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for language, text in found if language == kind]


def commands(page: Path) -> list[str]:
    """Return what a reader types: the lines after `$ `, without remarks."""
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    return [_BEHIND.sub("", line[2:]).strip() for line in lines if line.startswith("$ ")]
