"""How far a referee's scores hang together: with themselves, and with the answers' length. Pure."""

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class Calibration:
    """What an iteration's reviews say of the referee; None where there is nothing to say it by.

    `judged`: instructions with scores in both orders, of which the rest speaks. `unread`: share of
    all reviews that have no scores. `contradictory`: share where one order prefers the teacher's
    answer, the other one the student's. `tied`: share whose mean gap is 0. `first_ahead`: mean
    points that an answer gains by standing first, over both orders. `length`: Spearman's rank
    correlation, -1 to 1, of the gap and of how many words longer the teacher's answer is.
    """

    judged: int
    unread: float | None
    contradictory: float | None
    tied: float | None
    first_ahead: float | None
    length: float | None


def measure(reviews: pl.DataFrame, texts: pl.DataFrame) -> Calibration:
    """Measure `reviews`: id, order, teacher_score, student_score.

    `texts` are the answers compared: id, answer (the teacher's), text (the student's).
    """
    gap = pl.col("teacher_score") - pl.col("student_score")
    scored = reviews.with_columns(gap=gap).drop_nulls("gap")
    first = scored.filter(pl.col("order") == "teacher_first").select("id", one="gap")
    second = scored.filter(pl.col("order") == "student_first").select("id", other="gap")
    both = first.join(second, on="id").with_columns(mean=(pl.col("one") + pl.col("other")) / 2)
    longer = _words("answer") - _words("text")
    compared = both.join(texts, on="id").select("mean", longer=longer)
    return Calibration(
        judged=both.height,
        unread=1 - scored.height / reviews.height if reviews.height else None,
        contradictory=_mean(both, (pl.col("one") * pl.col("other") < 0).cast(pl.Float64)),
        tied=_mean(both, (pl.col("mean") == 0).cast(pl.Float64)),
        first_ahead=_mean(both, (pl.col("one") - pl.col("other")) / 2),
        length=_correlation(compared),
    )


def _words(name: str) -> pl.Expr:
    return pl.col(name).str.count_matches(r"\S+").cast(pl.Int64)


def _mean(rows: pl.DataFrame, what: pl.Expr) -> float | None:
    value: float | None = rows.select(what.mean()).item()
    return value


def _correlation(rows: pl.DataFrame) -> float | None:
    """Return Spearman's correlation; None where either side does not vary."""
    if rows.is_empty() or any(rows.get_column(name).n_unique() == 1 for name in rows.columns):
        return None
    value: float = rows.select(pl.corr("mean", "longer", method="spearman")).item()
    return value
