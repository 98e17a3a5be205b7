"""The report page: one HTML file that opens with a double click and makes no network request.

Texts are embedded as data: JSON that cannot close its element, rows as gzip in base64. The content
security policy allows the page's own scripts and styles, by their hashes, and nothing else.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib import resources
from itertools import chain
from pathlib import Path
from string import Template
from typing import Any

import orjson
import polars as pl

from lion import __version__
from lion.escape import clipped, inert
from lion.pipeline import revisions
from lion.pipeline.revisions import Place
from lion.records import jsonl
from lion.records.rows import Row
from lion.reporting import domain_cards, page_cards, page_heading, snapshot
from lion.reporting.certificate_cards import certificate_cards
from lion.reporting.curve_cards import curve_cards
from lion.reporting.exam_page import Columns, exam_answers
from lion.reporting.snapshot import Run

PAGE = Path("report/index.html")
CLIP = 400  # characters of a text; `lion show` has the whole
_SCRIPTS = (
    "vega.min.js",
    "vega-lite.min.js",
    "vega-embed.min.js",
    "tabulator.min.js",
    "exam.js",
    "page.js",
)
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


@dataclass(frozen=True, slots=True)
class Written:
    """The size of the written file in bytes, and the number of its rows."""

    size: int
    rows: int


def write_page(place: Place, out: Path) -> Written:
    """Write the page of the run up to `place`. Raises DataError and RevisionError.

    What was made with other params than those at hand is left out, and the page says so.
    """
    place = revisions.current_place(place)
    iteration = revisions.iteration_of(place)
    run = snapshot.read_run(place.tree, iteration, snapshot.judged_pool(place))
    footer = f"{place.tree.name}, iteration {iteration}. Made by lion {__version__}."
    exam, sentence = exam_answers(run)
    summary = {**overview(run), "exam": {"sentence": sentence, "has_rows": exam is not None}}
    if isinstance(place.tree, revisions.CurrentWorkspace):
        summary["stale"] = place.tree.stale.sentence()
    text = render(summary, run.rows, exam, footer).encode()
    with jsonl.replacing(out) as temporary:
        temporary.write_bytes(text)
    return Written(len(text), run.rows.height)


def overview(run: Run) -> Row:
    """Return the page's summary: heading, key figures and sections of cards."""
    sections = {
        "Progress": page_cards.progress_cards(run),
        "Hard and easy": page_cards.difficulty_cards(run),
        "Referee": page_cards.referee_cards(run),
        "Pools": chain(page_cards.pool_cards(run), domain_cards.domain_cards(run)),
        "Exam": page_cards.exam_cards(run),
        "Rows": curve_cards(run),
        "Certificate": certificate_cards(run),
        "Cost": page_cards.cost_cards(run),
    }
    cards_by_title = {title: [card for card in cards if card] for title, cards in sections.items()}
    return {
        **page_heading.heading(run),
        "sections": [
            {"id": title.split()[0].lower(), "title": title, "cards": cards}
            for title, cards in cards_by_title.items()
            if cards
        ],
        "about": "Domain" if run.has_domains else "Category",
        "pool_note": (
            f"The Cache Pool of iteration {run.iteration}: each row with its latest verdict, and "
            "the student's answer that it judged. Texts are cut at 400 characters."
        ),
    }


def render(
    summary: Mapping[str, Any], rows: pl.DataFrame, exam: Columns | None, footer: str
) -> str:
    """Return the HTML. `rows` are those of `snapshot.judged_pool`, with a column `about`."""
    scripts = [_asset(name) for name in _SCRIPTS]
    styles = [_asset(name) for name in _STYLES]
    return Template(_asset("page.html")).substitute(
        policy=_policy(scripts, styles),
        title=escape(summary["title"]),
        styles="\n".join(f"<style>{style}</style>" for style in styles),
        footer=escape(footer),
        summary=_json(summary),
        rows=_packed(_columns(rows)),
        exam=_packed(exam or {}),
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
    """Return JSON without `<`, `>` and `&`, so that it cannot close its element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _columns(rows: pl.DataFrame) -> Columns:
    columns: Columns = {
        name: rows.get_column(column).to_list() for name, column in _COLUMNS.items()
    }
    for name in ("text", "teacher", "student", "domain"):
        columns[name] = [None if text is None else _shown(text) for text in columns[name]]
    return columns


def _packed(columns: Columns) -> str:
    """Return the columns as gzipped JSON in base64; equal rows give equal text."""
    packed = gzip.compress(orjson.dumps(columns), compresslevel=6, mtime=0)
    return base64.b64encode(packed).decode()


def _shown(text: str) -> str:
    return clipped(inert(text), CLIP)
