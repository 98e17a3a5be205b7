"""split: hard or easy by the gap, and whether the loop goes on."""

from collections import Counter
from dataclasses import asdict

from lion import jsonl, project, stage
from lion.judgement import calibration, discrimination
from lion.records import Review, Selection, Verdict


def split(work: stage.Work) -> str:
    """Write verdicts.jsonl, stop.json, and how far full judging would agree."""
    settings = work.settings.split
    selections = jsonl.read(work.data("selection.jsonl"), Selection.from_row)
    reviews = discrimination.pooled(jsonl.read(work.data("reviews.jsonl"), Review.from_row))
    noise = jsonl.read_document(project.metrics(work.iteration, "calibration"))["noise"]
    tau = calibration.tau(settings, noise)
    verdicts = discrimination.selected(selections, reviews, tau, settings.half_judged)
    reason = discrimination.stop_reason(verdicts, settings, tau)
    if reason is None and settings.stop_in_noise:
        before = jsonl.read(work.before("verdicts.jsonl"), Verdict.from_row)
        reason = calibration.stop_reason(verdicts, before, tau, noise)
    jsonl.write(work.data("verdicts.jsonl"), verdicts)
    jsonl.write_document(work.data("stop.json"), {"stop": reason is not None, "reason": reason})
    measures = discrimination.measures(verdicts)
    audit = discrimination.audit(selections, reviews, verdicts, tau)
    known = discrimination.agreement(audit)
    basis = Counter(row.basis for row in verdicts)
    work.write_metrics({**measures, "agreement": known and known.value, "stopped": reason})
    details = {"agreement": known and asdict(known), "audit": asdict(audit)}
    details["contradictions"] = discrimination.contradictions(reviews)
    share = calibration.within(verdicts, tau, noise)
    details["noise"] = {"deviation": noise, "tau": tau, "within": share}
    path = project.metrics(work.iteration, "agreement")
    jsonl.write_document(path, {**details, "basis": dict(sorted(basis.items()))})
    told = ", ".join(f"{measures[kind]:,} {kind}" for kind in ("hard", "easy", "undecided"))
    return told if reason is None else f"{told}; the loop stops: {reason}"


if __name__ == "__main__":
    stage.main("split", split)
