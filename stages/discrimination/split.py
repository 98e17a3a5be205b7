"""split: hard or easy by the gap, and whether the loop goes on."""

from lion import discrimination, jsonl, stage
from lion.records import Review


def split(work: stage.Work) -> str:
    """Write verdicts.jsonl and stop.json."""
    settings = work.settings.split
    reviews = jsonl.read(work.data("reviews.jsonl"), Review.from_row)
    verdicts = discrimination.verdicts(reviews, settings.tau)
    reason = discrimination.stop_reason(verdicts, settings)
    jsonl.write(work.data("verdicts.jsonl"), verdicts)
    jsonl.write_document(work.data("stop.json"), {"stop": reason is not None, "reason": reason})
    measures = discrimination.measures(verdicts)
    work.write_metrics({**measures, "stopped": reason})
    told = ", ".join(f"{measures[kind]:,} {kind}" for kind in ("hard", "easy", "undecided"))
    return told if reason is None else f"{told}; the loop stops: {reason}"


if __name__ == "__main__":
    stage.main("split", split)
