"""The report page's card of accuracy against given rows."""

from collections.abc import Iterator

from lion.config import project, yaml_file
from lion.llm.prices import Prices
from lion.pipeline import revisions
from lion.reporting import plots
from lion.reporting.curve import curve_values, doubling_sentence, read_curve
from lion.reporting.page_cards import Card, card
from lion.reporting.snapshot import Run
from lion.reporting.worth import MarkedRun


def curve_cards(run: Run) -> Iterator[Card | None]:
    """Yield the curve of the working folder; none of a revision, or where params name no point."""
    if run.tree.name != revisions.WORKSPACE or not _declares_curve():
        return
    curve = read_curve(MarkedRun.of_workspace(), Prices.load(project.PRICES))
    if curve is not None and len(curve.points) > 1:
        spec = plots.against_rows(*curve_values(curve))
        yield card("How many rows", doubling_sentence(curve), plot=spec, wide=True)


def _declares_curve() -> bool:
    """Return whether params.yaml names points; the page needs no other parameter of the folder."""
    params = yaml_file.read_yaml(project.PARAMS) if project.PARAMS.exists() else None
    return isinstance(params, dict) and bool(params.get("curve"))
