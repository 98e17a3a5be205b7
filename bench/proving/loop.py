"""One arm, one seed, one skew: Lion's own loop in one process, the oracle called as a function.

Base pool, drawing, judging, generating, tuning and answering are Lion's own functions; only the
protocol is left out. All arms of a seed and skew start from the same base student.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from filelock import FileLock

from lion import base, jsonl, project, prompts, teacher
from lion.embedded import families
from lion.instructions import decontamination, domains, generator, pools, progress
from lion.instructions.nursery import Nursery
from lion.judgement import discrimination, frugal, referee
from lion.model import answering, chat, student, tuning
from lion.records import KINDS, Answer, Instruction, Review, Selection, Verdict
from lion.settings import Review as Rules
from lion.settings import Settings
from proving import frozen
from proving.arms import Arm, Sizes
from proving.money import Till

ROOT = Path(__file__).parents[2]
PROMPTS = {
    role: prompts.load(ROOT / "prompts" / role, role)
    for role in ("teacher", "referee", "generator")
}
PLAIN = {"uniform": "one-way", "uniform-mixed": "same mix"}
"""The arm that a feedback has at equal steps, where it is not called as the feedback is."""
FRUGAL = {"limit": 300, "margin": 1.0, "same_answer": "skip"}


@dataclass(slots=True)
class Run:
    """An arm on its way: what it knows, what it has spent, and its student."""

    arm: Arm
    sizes: Sizes
    seed: int
    settings: Settings
    exam: list[Instruction]
    cache: list[Instruction]
    student: Path
    work: Path
    scale: float = 1.0
    till: Till = field(init=False)
    before: list[Verdict] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Open the till."""
        self.till = Till(self.seed)

    def iteration(self, depth: int, tokens: int | None) -> dict[str, Any]:
        """Run one iteration; return its figures. `tokens`: train on so many, not by steps."""
        verdicts = self._verdicts(depth) if self.arm.feedback == "adversarial" else []
        new = self._new(depth, verdicts)
        replies = self.till.ask(
            "teacher", [teacher.request(row, PROMPTS["teacher"]) for row in new]
        )
        given = [teacher.answer(row, one, "drop") for row, one in zip(new, replies, strict=True)]
        taught = [
            teacher.taught(row, one)
            for row, one in zip(new, given, strict=True)
            if isinstance(one, Answer)
        ]
        self.cache = pools.grow(self.cache, taught)
        tuned = self._tune(depth, taught, tokens)
        self.before = verdicts
        return {
            **examined(self, f"{depth}"),
            **tuned,
            "hard_share": discrimination.measures(verdicts).hard_share if verdicts else None,
            "origins": dict(Counter(row.origin for row in taught)),
            "new_by_family": by_family(taught),
            "calls": dict(self.till.calls),
            "dollars": self.till.dollars(),
        }

    def _verdicts(self, depth: int) -> list[Verdict]:
        rng = pools.draw(random_seed=self.seed, purpose="respond", depth=depth)
        drawn = pools.sample(self.cache, self.sizes.judged, rng)
        answers = self.answers(drawn)
        rules = self.settings.review
        by_id = {row.id: row for row in drawn}
        responses = [(one.id, frugal.same(_taught(by_id[one.id]), one.text)) for one in answers]
        texts = {one.id: one.text for one in answers}
        selected = frugal.select(
            responses, self.before, self.arm.tau, rules, random_seed=self.seed, depth=depth
        )
        reviews = self._reviews(by_id, texts, selected)
        settled = [self._settled(row, reviews, rules, depth) for row in selected]
        reviews |= self._reviews(by_id, texts, settled, known=reviews)
        return discrimination.selected(settled, list(reviews.values()), self.arm.tau)

    def _settled(
        self, row: Selection, reviews: dict[tuple[str, str], Review], rules: Rules, depth: int
    ) -> Selection:
        if row.basis != "one_order":
            return row
        first = reviews[row.id, row.first]
        return frugal.settle(row, first, self.arm.tau, rules, random_seed=self.seed, depth=depth)

    def _reviews(
        self,
        rows: dict[str, Instruction],
        texts: dict[str, str],
        selected: Sequence[Selection],
        known: dict[tuple[str, str], Review] | None = None,
    ) -> dict[tuple[str, str], Review]:
        wanted = [
            (one.id, order)
            for one in selected
            for order in frugal.orders(one)
            if (one.id, order) not in (known or {})
        ]
        requests = [
            referee.request(
                chat.transcript(rows[id].messages),
                _taught(rows[id]),
                texts[id],
                order,
                PROMPTS["referee"],
            )
            for id, order in wanted
        ]
        replies = self.till.ask("referee", requests)
        return {
            (id, order): referee.review(id, order, reply)
            for (id, order), reply in zip(wanted, replies, strict=True)
        }

    def _new(self, depth: int, verdicts: Sequence[Verdict]) -> list[Instruction]:
        """Return the new instructions, asked for in rounds as the stage `generate` does."""
        parents = pools.parents(self.cache, verdicts, self.arm.feedback)
        before, now = (progress.judged(self.cache, one) for one in (self.before, verdicts))
        weights: dict[str, float] = {}
        if self.arm.choice == "progress":
            weights = progress.weights(parents["hard"], before, now)
        nursery = Nursery(
            iteration=f"{depth}",
            depth=depth,
            settings=self.settings.generate,
            parents=parents,
            cache=self.cache,
            guard=decontamination.guard(self.exam, self.settings.decontaminate),
            rng=pools.draw(random_seed=self.seed, purpose="generate", depth=depth),
            quality=self.settings.quality,
            gaps={one.row.id: one.gap for one in now},
            progress=weights,
        )
        for kind in KINDS:
            while asked := list(nursery.choose(kind)):
                requests = [
                    generator.request(
                        chat.transcript(row.messages),
                        nursery.prompt(kind),
                        PROMPTS["generator"],
                        sample,
                    )
                    for row, sample in asked
                ]
                replies = self.till.ask("generator", requests)
                kept = [
                    nursery.judge(kind, row, generator.candidate(reply, row.id, nursery.settings))
                    for (row, _), reply in zip(asked, replies, strict=True)
                ]
                if sum(kept) < nursery.settings.min_acceptance * len(kept):
                    break
        return nursery.kept

    def _tune(
        self, depth: int, taught: Sequence[Instruction], tokens: int | None
    ) -> dict[str, Any]:
        rng = pools.draw(random_seed=self.seed, purpose="replay", depth=depth)
        rows = [*taught, *pools.replayed(taught, self.cache, self.arm.replay, rng)]
        found = examples(self.student, rows, self.settings)
        length = fmean(len(one.input_ids) for one in found)
        steps = round(self.sizes.steps * self.scale)
        batch = self.settings.tune.batch_size
        if tokens is not None:
            steps = max(1, round(tokens / (batch * length)))
        out = self.work / f"student-{depth}"
        tuned = tune(found, self.student, out, self.settings, steps, self.seed + depth)
        self.student = out
        return {
            "steps": steps,
            "new": len(taught),
            "rows": len(rows),
            "tokens": round(steps * batch * length),
            "supervised_tokens": tuned.tokens,
        }

    def answers(self, rows: Sequence[Instruction]) -> list[Answer]:
        """Return the student's answers."""
        task = answering.Task(
            self.student, self.settings.student, self.settings.answering, self.seed, "student"
        )
        return answering.answer(rows, task)


def prove(arm: Arm, sizes: Sizes, seed: int, skew: float, folder: Path) -> dict[str, Any]:
    """Run one arm and return its figures; `folder` holds bases and results done before."""
    settings = configured(arm, sizes, skew, folder, seed)
    run = Run(
        arm=arm,
        sizes=sizes,
        seed=seed,
        settings=settings[0],
        exam=exam_rows(),
        cache=base_pool(settings[0], seed),
        student=Path(),
        work=folder / "work" / slug(arm.name, seed, skew),
        scale=settings[1],
    )
    begun, run.student = based(run, skew, folder)
    reference = None
    if arm.budget == "tokens" and arm.reference is not None:
        reference = jsonl.read_document(result_path(folder, arm.reference, seed, skew))
    found = []
    for depth in range(1, arm.iterations + 1):
        tokens = reference["iterations"][depth - 1]["tokens"] if reference else None
        found.append(run.iteration(depth, tokens))
    shutil.rmtree(run.work, ignore_errors=True)
    told = {"arm": arm.name, "seed": seed, "skew": skew, "frozen": frozen.check()}
    return {**told, "scale": run.scale, "base": begun, "iterations": found}


def configured(
    arm: Arm, sizes: Sizes, skew: float, folder: Path, seed: int
) -> tuple[Settings, float]:
    """Return the settings of an arm, and by how much its spend lets it grow."""
    known = project.load_settings(ROOT / "profiles" / "default.yaml")
    scale = 1.0
    if arm.budget == "spend" and arm.reference is not None:
        plain = PLAIN.get(arm.feedback, arm.feedback)
        scale = spent(folder, arm.reference, seed, skew) / spent(folder, plain, seed, skew)
    total = round((sizes.hard + sizes.easy) * scale)
    easy = round(total * arm.easy_share)
    generate = known.generate.model_copy(
        update={
            "hard": total - easy,
            "easy": easy,
            "feedback": arm.feedback,
            "choice": arm.choice,
        }
    )
    changes: dict[str, Any] = {
        "generate": generate,
        "seed": known.seed.model_copy(update={"size": sizes.pool, "skew": skew}),
    }
    if arm.frugal:
        changes["review"] = known.review.model_copy(update=FRUGAL)
    return known.model_copy(update=changes), scale


def spent(folder: Path, arm: str, seed: int, skew: float) -> float:
    """Return what a finished arm cost in all, in dollars, its base apart."""
    document = jsonl.read_document(result_path(folder, arm, seed, skew))
    return float(sum(document["iterations"][-1]["dollars"].values()))


def base_pool(settings: Settings, seed: int) -> list[Instruction]:
    """Return the base pool with the teacher's answers, the same for every arm."""
    rows, _ = base.pool(settings.seed, seed)
    till = Till(seed)
    replies = till.ask("teacher", [teacher.request(row, PROMPTS["teacher"]) for row in rows])
    found = [teacher.answer(row, one, "drop") for row, one in zip(rows, replies, strict=True)]
    return [
        domains.labelled(teacher.taught(row, one))
        for row, one in zip(rows, found, strict=True)
        if isinstance(one, Answer)
    ]


def based(run: Run, skew: float, folder: Path) -> tuple[dict[str, Any], Path]:
    """Return the base student's figures and its folder; it is made once for all arms."""
    home = folder / "bases" / slug("base", run.seed, skew)
    home.mkdir(parents=True, exist_ok=True)
    done, out = home / "base.json", home / "student"
    with FileLock(home / "lock"):
        run.student = out
        if not done.exists():
            shutil.rmtree(out, ignore_errors=True)
            untrained = home / "untrained"
            base.write_student(untrained, run.settings.student, run.cache, run.seed)
            found = examples(untrained, run.cache, run.settings)
            tune(found, untrained, out, run.settings, run.sizes.base_steps, run.seed)
            jsonl.write_document(done, examined(run, "0"))
    return {**jsonl.read_document(done), "pool_by_family": by_family(run.cache)}, out


def examined(run: Run, name: str) -> dict[str, Any]:
    """Return the student's accuracy on the frozen exam, in all (macro) and by family."""
    texts = {one.id: one.text for one in run.answers(run.exam)}
    marks: dict[str, list[bool]] = {}
    for row in run.exam:
        marks.setdefault(str(row.category), []).append(texts[row.id].strip() == row.expected)
    by = {family: fmean(found) for family, found in marks.items()}
    return {"iteration": name, "accuracy": fmean(by.values()), "families": by}


def exam_rows() -> list[Instruction]:
    """Return the frozen exam as Lion's rows."""
    return [
        Instruction.new(
            [{"role": "user", "content": task.instruction}],
            origin="exam",
            iteration="0",
            category=task.family,
            expected=task.answer,
        )
        for task in frozen.exam()
    ]


def examples(before: Path, rows: Sequence[Instruction], settings: Settings) -> list[chat.Example]:
    """Return the supervised examples of `rows` for the student in folder `before`."""
    tokenizer = student.load_tokenizer(before, settings.student)
    encoder = chat.Encoder(tokenizer, settings.student.prompt_format)
    return encoder.examples([(row.id, row.messages, _taught(row)) for row in rows])


def tune(
    found: Sequence[chat.Example],
    before: Path,
    out: Path,
    settings: Settings,
    steps: int,
    random_seed: int,
) -> tuning.TuneReport:
    """Fine-tune for `steps`, else as the default profile does."""
    return tuning.tune(
        found,
        student=before,
        out=out,
        settings=settings.student,
        tune=settings.tune.model_copy(update={"steps": steps}),
        hardware=settings.hardware,
        random_seed=random_seed,
    )


def by_family(rows: Sequence[Instruction]) -> dict[str, int]:
    """Return how many instructions are of each family, by the oracle's own reading."""
    tasks = [families.solve(row.messages[-1]["content"]) for row in rows]
    return dict(sorted(Counter(task.family for task in tasks if task is not None).items()))


def result_path(folder: Path, arm: str, seed: int, skew: float) -> Path:
    """Return where the result of an arm lies."""
    return folder / "results" / f"{slug(arm, seed, skew)}.json"


def slug(arm: str, seed: int, skew: float) -> str:
    """Return a file's name."""
    plain = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in arm)
    return f"skew-{skew:g}_seed-{seed}_{plain}"


def _taught(row: Instruction) -> str:
    assert row.answer is not None
    return row.answer.text
