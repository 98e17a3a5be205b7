"""Writes the figures of docs/scaling.md by the code of `lion plan --rows --student`.

``python docs/scaling.py`` writes them, ``--check`` ends with 1 where they are out of date.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from lion import project
from lion.asking.pricing import Prices
from lion.views import scaling

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scaling.md"
SIZES = [(rows, weights) for rows in (52_000, 1_000_000) for weights in (10**9, 8 * 10**9)]
_FIGURES = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- end of figures -->)", re.DOTALL)


def page() -> str:
    """Return the page with its figures computed anew."""
    return _FIGURES.sub(lambda _: figures(), PAGE.read_text(encoding="utf-8"))


def figures() -> str:
    """Return the table, and the two constants that nobody has measured here."""
    found = reached()
    names = [name for name, _ in scaling.as_rows(found[0])]
    columns = [dict(scaling.as_rows(one)) for one in found]
    head = ["", *(f"{one.rows:,} rows, {one.parameters / 1e9:g} B" for one in found)]
    lines = [head, ["---", *["--:"] * len(found)]]
    lines += [[name, *(column[name] for column in columns)] for name in names]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    assumed = f"tuning {scaling.TUNING:.0%}, answering {scaling.ANSWERING:.0%}"
    return f"\n{table}\nShare of a GPU's peak, assumed and never measured by us: {assumed}.\n\n"


def reached() -> list[scaling.Reach]:
    """Return what the profile `paper` takes, where no run of this checkout is measured."""
    settings = project.load_settings(ROOT / "profiles" / "paper.yaml")
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "prompts", Path(folder) / "prompts")
        os.chdir(folder)
        try:
            return [scaling.reach(settings, *size, Prices({})) for size in SIZES]
        finally:
            os.chdir(before)


def main() -> None:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit(f"{PAGE.name} is out of date: run `python docs/scaling.py`")


if __name__ == "__main__":
    main()
