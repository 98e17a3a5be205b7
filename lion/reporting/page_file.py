"""The report page of a place, gathered and written to one file."""

from dataclasses import dataclass
from pathlib import Path

from lion import __version__
from lion.pipeline import revisions
from lion.pipeline.revisions import Place
from lion.records import jsonl
from lion.reporting import overview, page, page_run, snapshot

PAGE = Path("report/index.html")


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the file's size in bytes, the rows in it."""

    size: int
    rows: int


def write_page(place: Place, out: Path) -> Written:
    """Write the page of a run as far as `place`. Raises DataError and RevisionError."""
    iteration = revisions.iteration_of(place)
    run = page_run.read_run(place.tree, iteration, snapshot.judged_pool(place))
    footer = f"{place.tree.name}, iteration {iteration}. Made by lion {__version__}."
    text = page.render(overview.overview(run), run.rows, footer).encode()
    with jsonl.replacing(out) as temporary:
        temporary.write_bytes(text)
    return Written(len(text), run.rows.height)
