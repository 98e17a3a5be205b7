"""split: hard or easy by the gap, and whether the loop goes on."""

from collections import Counter
from dataclasses import asdict

from lion import project, stage
from lion.judgement import calibration, discrimination
from lion.judgement.split import Divided, split
from lion.records import Review, Selection, Verdict


def main(work: stage.Work) -> str:
    """Write verdicts.jsonl, stop.json, and how far full judging would agree."""
    files = work.files
    noise = files.read_document(project.metrics(work.iteration, "calibration"))["noise"]
    divided = split(
        files.read(work.data("selection.jsonl"), Selection),
        files.read(work.data("reviews.jsonl"), Review),
        files.read(work.before("verdicts.jsonl"), Verdict),
        noise,
        work.settings.split,
    )
    reason = divided.stop_reason
    files.write(work.data("verdicts.jsonl"), divided.verdicts)
    files.write_document(work.data("stop.json"), {"stop": reason is not None, "reason": reason})
    counts = _write_metrics(work, divided)
    told = ", ".join(f"{counts[kind]:,} {kind}" for kind in ("hard", "easy", "undecided"))
    return told if reason is None else f"{told}; the loop stops: {reason}"


def _write_metrics(work: stage.Work, divided: Divided) -> dict[str, float | None]:
    measures = discrimination.measures(divided.verdicts)
    known = discrimination.agreement(divided.audit)
    agreement = known and known.value
    work.write_metrics({**measures, "agreement": agreement, "stopped": divided.stop_reason})
    within = calibration.within(divided.verdicts, divided.tau, divided.noise)
    basis = Counter(row.basis for row in divided.verdicts)
    work.write_metrics(
        {
            "agreement": known and asdict(known),
            "audit": asdict(divided.audit),
            "contradictions": divided.contradictions,
            "noise": {"deviation": divided.noise, "tau": divided.tau, "within": within},
            "basis": dict(sorted(basis.items())),
        },
        "agreement",
    )
    return measures


if __name__ == "__main__":
    stage.run("split", main)
