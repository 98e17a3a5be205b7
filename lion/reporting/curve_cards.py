"""The report page's card of accuracy against given rows."""

from collections.abc import Iterator

from lion.config import project
from lion.llm.prices import Prices
from lion.pipeline import revisions
from lion.reporting import plots
from lion.reporting.curve import curve_values, doubling_sentence, read_curve
from lion.reporting.page_cards import Card, card
from lion.reporting.snapshot import Run
from lion.reporting.worth import MarkedRun


def curve_cards(run: Run) -> Iterator[Card | None]:
    """Yield the curve of the working folder; none of a revision, or where params name no point."""
    if run.tree.name != revisions.WORKSPACE or not project.PARAMS.exists():
        return
    marked = MarkedRun.of_workspace()
    curve = read_curve(marked, Prices.load(project.PRICES)) if marked.settings.curve else None
    if curve is not None and len(curve.points) > 1:
        spec = plots.against_rows(*curve_values(curve))
        yield card("How many rows", doubling_sentence(curve), plot=spec, wide=True)
