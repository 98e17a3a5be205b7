"""What the report page says of a run: key figures, then sections of cards. Reads, never judges.

A figure that is not known is a dash; a plot without a figure is left out.
"""

from collections.abc import Iterator

from lion.escape import DASH
from lion.records.rows import Row
from lion.reporting import page_pools, page_referee, page_student, table
from lion.reporting.page_run import Run


def overview(run: Run) -> Row:
    """Return the page's summary of a run."""
    sections = {
        "Progress": page_student.progress_cards(run),
        "Hard and easy": page_pools.difficulty(run),
        "Referee": page_referee.referee(run),
        "Pools": page_pools.pools(run),
        "Exam": page_student.exam_cards(run),
        "Cost": page_student.cost_cards(run),
    }
    cards_by_title = {title: [card for card in cards if card] for title, cards in sections.items()}
    return {
        "title": f"Lion: student {run.iteration}",
        "headline": table.headline(run.lines).plain.replace("\n", " "),
        "tiles": list(_tiles(run)),
        "sections": [
            {"id": title.split()[0].lower(), "title": title, "cards": cards}
            for title, cards in cards_by_title.items()
            if cards
        ],
        "about": "Domain" if run.has_domains else "Category",
        "told": (
            f"The Cache Pool of iteration {run.iteration}: each row with its latest verdict, and "
            "the student's answer that it judged. Texts are cut at 400 characters."
        ),
    }


def _tiles(run: Run) -> Iterator[Row]:
    last = run.lineage[-1]
    accuracy = f"teacher {_percent(last.teacher_accuracy_share)}"
    yield _tile("Student's accuracy", _percent(last.accuracy_share), accuracy)
    quality = DASH if last.quality_percent is None else f"{last.quality_percent:.1f} %"
    yield _tile("Quality", quality, "of the teacher's scores")
    yield _tile(
        "Instructions", f"{run.rows.height:,}", f"{table.count(last.train_pool)} of them new"
    )
    gap = DASH if last.mean_gap_points is None else f"mean gap {last.mean_gap_points:.2f}"
    yield _tile("Hard", _percent(last.hard_share), gap)
    tokens = [line.tokens for line in run.lines if line.tokens is not None]
    yield _tile("Tokens", _short(sum(tokens)) if tokens else DASH, "asked of all three roles")
    yield _tile("Spent", table.spent(run.lines), "by this machine")


def _tile(label: str, value: str, note: str) -> Row:
    return {"label": label, "value": value, "note": note}


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.1f} %"


def _short(number: int) -> str:
    return f"{number / 1e6:,.1f} M" if number >= 1_000_000 else f"{number:,}"
