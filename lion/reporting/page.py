"""The report page: one HTML file that opens with a double click and fetches nothing.

Texts travel as data: JSON that cannot close its element, rows as gzip in base64. The policy allows
the page's own scripts and styles, by their hashes, and nothing else. What is shown is `overview`'s.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from importlib import resources
from string import Template
from typing import Any

import orjson
import polars as pl

from lion.escape import clipped, inert

CLIP = 400  # characters of a text; `lion show` has the whole
_SCRIPTS = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js", "tabulator.min.js", "page.js")
_STYLES = ("tabulator_simple.min.css", "page.css")
_SOURCE_MAP = re.compile(r"(?://|/\*)# sourceMappingURL=\S+(?: \*/)?")
_COLUMNS = {
    "id": "id",
    "text": "text",
    "teacher": "answer",
    "student": "response",
    "gap": "gap",
    "verdict": "difficulty",
    "judged": "judged",
    "origin": "origin",
    "parent": "parent",
    "iteration": "iteration",
    "domain": "about",
}
"""The page's name of each column, and the frame's."""


def render(summary: Mapping[str, Any], rows: pl.DataFrame, footer: str) -> str:
    """Return the page. `rows` are as `gathering.judged_pool` has them, with a column `about`."""
    scripts = [_asset(name) for name in _SCRIPTS]
    styles = [_asset(name) for name in _STYLES]
    return Template(_asset("page.html")).substitute(
        policy=_policy(scripts, styles),
        title=escape(summary["title"]),
        styles="\n".join(f"<style>{style}</style>" for style in styles),
        footer=escape(footer),
        summary=_json(summary),
        rows=_packed(rows),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _asset(name: str) -> str:
    text = resources.files("lion").joinpath("assets", name).read_text(encoding="utf-8")
    return _SOURCE_MAP.sub("", text)


def _policy(scripts: list[str], styles: list[str]) -> str:
    return (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hashes(texts: list[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in texts)
    return " ".join(f"'sha256-{digest.decode()}'" for digest in digests)


def _json(value: Any) -> str:
    """Return JSON that stays inside its element: no `<`, `>` or `&` stands in it as such."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _packed(rows: pl.DataFrame) -> str:
    """Return the columns as JSON in gzip in base64; the same rows are the same text."""
    columns = {name: rows.get_column(column).to_list() for name, column in _COLUMNS.items()}
    for name in ("text", "teacher", "student", "domain"):
        columns[name] = [None if text is None else _shown(text) for text in columns[name]]
    packed = gzip.compress(orjson.dumps(columns), compresslevel=6, mtime=0)
    return base64.b64encode(packed).decode()


def _shown(text: str) -> str:
    return clipped(inert(text), CLIP)
