"""The report page of 60,000 instructions: its size, and its seconds in a headless Chromium.

    python bench/page.py [--rows 60000]

Needs the extra `test`, and a Chromium.

A made-up pool with the lengths and the entropy of English: words of a Zipf vocabulary of 30,000,
instructions of 120 characters in the median, answers of 300, cut at 400 as the page does. A browser
opens the file, types, filters and sorts, from the key to the painted table. All of it in ROUNDS
rounds, each with a fresh page: a key's time is its best one, since other processes use the machine,
and what is told is the worst key. Needs playwright (`pip install -e '.[test]'`) and a Chromium in
PATH.
"""

import argparse
import json
import random
import shutil
import tempfile
import time
from itertools import accumulate
from pathlib import Path

import polars as pl
from playwright.sync_api import Browser, Page, sync_playwright

from lion.records.rows import Row
from lion.reporting import page

MEGABYTES, READY, SEARCH = 30, 2.0, 0.1
ROUNDS = 5
TYPED = "river qu"
# from the event to the frame after what it changed
TIMED = """async ([selector, value, kind]) => {
  const input = document.querySelector(selector), began = performance.now();
  input.value = value;
  input.dispatchEvent(new Event(kind, {bubbles: true}));
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return (performance.now() - began) / 1000;
}"""


def main() -> None:
    """Write the page, drive it, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--keep", type=Path, help="write the page here and leave it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lion-bench-") as folder:
        path = arguments.keep or Path(folder) / "page.html"
        began = time.perf_counter()
        text = page.render(SUMMARY, pool(arguments.rows), None, "a bench")
        path.write_text(text, encoding="utf-8")
        print(f"written in {time.perf_counter() - began:.1f} s")
        size = path.stat().st_size / 1e6
        found = driven(path.resolve())
    ready, search = max(found["ready"]), max(found["search"])
    print(f"{arguments.rows:,} instructions: {size:.1f} MB (at most {MEGABYTES})")
    print(f"interactive in {ready:.2f} s (at most {READY})")
    print(f"search as one types: {told(found['search'])} s a key (at most {SEARCH})")
    print(f"a filter: {told(found['filter'])} s, a sort: {told(found['sort'])} s")
    held = size < MEGABYTES and ready < READY and search < SEARCH
    print(f"page: {'held' if held else 'MISSED'}")
    ours = {"megabytes": round(size, 1), "ready": round(ready, 2), "search": round(search, 3)}
    others = {"megabytes": MEGABYTES, "ready": READY, "search": SEARCH}
    ratio = round(ready / READY, 2)
    print(json.dumps({"name": "page", "ours": ours, "others": others, "ratio": ratio, "unit": "s"}))


SUMMARY: Row = {
    "title": "A bench",
    "headline": "",
    "tiles": [],
    "sections": [],
    "about": "Domain",
    "pool_note": "",
    "exam": {"sentence": "", "has_rows": False},
}


def pool(rows: int) -> pl.DataFrame:
    """Return a pool as `gathering.judged_pool` has it, described."""
    rng = random.Random(0)
    write = Writer(rng)
    gaps = [rng.choice([None, 0.0, 0.5, 1.0, 3.0, 7.5]) for _ in range(rows)]
    return pl.DataFrame(
        {
            "id": [f"{rng.getrandbits(64):016x}" for _ in range(rows)],
            "text": [write(120) for _ in range(rows)],
            "answer": [write(300) for _ in range(rows)],
            "response": [None if gap is None else write(300) for gap in gaps],
            "gap": gaps,
            "difficulty": [None if gap is None else "hard" if gap >= 1 else "easy" for gap in gaps],
            "judged": [None if gap is None else "3" for gap in gaps],
            "origin": [rng.choice(["seed", "hard", "easy"]) for _ in range(rows)],
            "parent": [f"{rng.getrandbits(64):016x}" for _ in range(rows)],
            "iteration": [str(rng.randrange(4)) for _ in range(rows)],
            "about": [rng.choice(["writing", "code", "mathematics", "law"]) for _ in range(rows)],
        },
        schema_overrides={"response": pl.String},
    )


class Writer:
    """Writes texts of about a given length."""

    def __init__(self, rng: random.Random) -> None:
        syllables = [a + b for a in "bcdfghjklmnpqrstvwz" for b in ("a", "e", "i", "o", "u", "er")]
        self.rng = rng
        self.words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(30_000)]
        self.words[500] = "river"
        self.weights = list(accumulate(1 / (rank + 2) for rank in range(len(self.words))))

    def __call__(self, median: int) -> str:
        """Return a text whose length is log-normal about `median`."""
        length = int(self.rng.lognormvariate(0, 0.6) * median)
        drawn = self.rng.choices(self.words, cum_weights=self.weights, k=max(3, length // 6))
        return " ".join(drawn).capitalize() + "."


def driven(path: Path) -> dict[str, list[float]]:
    """Return the seconds that a browser took, the best of ROUNDS: ready, search, filter, sort."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        rounds = [used(browser, path) for _ in range(ROUNDS)]
        browser.close()
    return {
        name: [min(times) for times in zip(*(one[name] for one in rounds), strict=True)]
        for name in rounds[0]
    }


def used(browser: Browser, path: Path) -> dict[str, list[float]]:
    """Return the seconds of one fresh page: until it is ready, and of each key and choice."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    began = time.perf_counter()
    opened.goto(path.as_uri())
    opened.wait_for_selector("html[data-browsable=yes]")
    ready = time.perf_counter() - began
    opened.wait_for_selector("html[data-ready=yes]")
    typed = [TYPED[: end + 1] for end in range(len(TYPED))]
    typed += [TYPED[:end] for end in range(len(TYPED) - 1, -1, -1)]
    found = {
        "ready": [ready],
        "search": [timed(opened, "#search", text, "input") for text in typed],
        "filter": [timed(opened, "#verdict", text, "input") for text in ("hard", "")],
        "sort": [timed(opened, "#sort", text, "change") for text in ("gap desc", "gap asc")],
    }
    opened.close()
    return found


def timed(opened: Page, selector: str, value: str, kind: str) -> float:
    """Return the seconds from an input's event to the frame after its effect."""
    seconds: float = opened.evaluate(TIMED, [selector, value, kind])
    return seconds


def told(seconds: list[float]) -> str:
    """Return the median and the worst."""
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2]:.3f}, at worst {ordered[-1]:.3f}"


if __name__ == "__main__":
    main()
