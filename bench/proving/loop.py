"""One arm, one seed, one skew: the shipped loop in one process, the oracle called as a function.

`lion.loop` runs each iteration, so that what is measured is what the stages do; only the protocol
is left out, and the clients bill. All arms of a seed and skew start from the same base student.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from filelock import FileLock

from lion.config import project
from lion.config.settings import Settings, Tune
from lion.discrimination import verdicts as discrimination
from lion.generation import seed_pool, topic_labels
from lion.loop import Iteration, Loop, State
from lion.prompting import teacher, templates
from lion.prompting.templates import PromptRole
from lion.records import jsonl
from lion.records.rows import Answer, Instruction
from lion.simulator import task_families
from lion.student import chat_format
from lion.student import checkpoint as student
from lion.training import finetune
from lion.training.report import TuneReport
from proving import frozen
from proving.arms import Arm, Sizes
from proving.money import MockBilling

ROOT = Path(__file__).parents[2]
ROLES: tuple[PromptRole, ...] = ("teacher", "referee", "generator")
PROMPTS = {role: templates.load(ROOT / "prompts" / role, role) for role in ROLES}
PLAIN = {"uniform": "one-way", "uniform-mixed": "same mix"}
"""The arm that a feedback has at equal steps, where it is not called as the feedback is."""
FRUGAL = {"limit": 300, "second_order_margin": 1.0, "same_answer": "skip"}


@dataclass(slots=True)
class Run:
    """An arm on its way: its loop, what it has spent, and where it stands."""

    arm: Arm
    settings: Settings
    exam: list[Instruction]
    state: State
    work: Path
    billing: MockBilling = field(init=False)
    _tuning: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin to bill."""
        self.billing = MockBilling(self.settings.random_seed)

    def iteration(self, tokens: int | None) -> dict[str, Any]:
        """Run one iteration; return its figures. `tokens`: train on so many, not by steps."""

        def fine_tune(
            examples: Sequence[chat_format.Example],
            _: Sequence[chat_format.Example],
            before: Path,
            out: Path,
            rules: Tune,
            random_seed: int,
        ) -> TuneReport:
            length = fmean(len(example.input_ids) for example in examples)
            steps = int(rules.steps or 0)
            if tokens is not None:
                steps = max(1, round(tokens / (rules.batch_size * length)))
            seen = round(steps * rules.batch_size * length)
            self._tuning = {"steps": steps, "rows": len(examples), "tokens": seen}
            return tune(examples, before, out, self.settings, steps, random_seed)

        loop = Loop(self.settings, self.billing, PROMPTS, self.exam, fine_tune)
        depth = self.state.depth + 1
        self.state, found = loop.iterate(self.state, self.work / f"student-{depth}")
        return {**examined(loop, self.state, self.exam), **self._figures(found)}

    def _figures(self, found: Iteration) -> dict[str, Any]:
        new = found.taught.new
        verdicts = self.state.verdicts
        return {
            **self._tuning,
            "new": len(new),
            "supervised_tokens": found.tuned.report.tokens if found.tuned else 0,
            "hard_share": discrimination.measures(verdicts).hard_share if verdicts else None,
            "origins": dict(Counter(row.origin for row in new)),
            "new_by_family": by_family(new),
            "calls": dict(self.billing.calls),
            "dollars": self.billing.dollars(),
        }


def prove(arm: Arm, sizes: Sizes, seed: int, skew: float, folder: Path) -> dict[str, Any]:
    """Run one arm and return its figures; `folder` holds bases and results done before."""
    settings, scale = configured(arm, sizes, skew, folder, seed)
    exam = exam_rows()
    cache = base_pool(settings, seed)
    begun, checkpoint = based(settings, sizes, cache, exam, skew, folder)
    work = folder / "work" / slug(arm.name, seed, skew)
    run = Run(arm, settings, exam, State(0, cache, [], checkpoint), work)
    reference = None
    if arm.budget == "tokens" and arm.reference is not None:
        reference = jsonl.read_document(result_path(folder, arm.reference, seed, skew))
    found = []
    for depth in range(1, arm.iterations + 1):
        tokens = reference["iterations"][depth - 1]["tokens"] if reference else None
        found.append(run.iteration(tokens))
    shutil.rmtree(work, ignore_errors=True)
    told = {"arm": arm.name, "seed": seed, "skew": skew, "frozen": frozen.check()}
    return {**told, "scale": scale, "base": begun, "iterations": found}


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
    steps = round(sizes.steps * scale)
    changes: dict[str, Any] = {
        "random_seed": seed,
        "generate": generate,
        "seed": known.seed.model_copy(update={"size": sizes.pool, "skew": skew}),
        "respond": known.respond.model_copy(update={"limit": sizes.judged}),
        "split": known.split.model_copy(update={"tau": arm.tau}),
        "tune": known.tune.model_copy(update={"steps": steps, "replay": arm.replay}),
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
    rows, _ = seed_pool.base_pool(settings.seed, seed)
    requests = [teacher.answer_request(row, PROMPTS["teacher"]) for row in rows]
    with MockBilling(seed).open("teacher", settings.teacher) as client:
        replies = client.complete(requests)
    found = [teacher.parse_answer(row, one, "drop") for row, one in zip(rows, replies, strict=True)]
    return [
        topic_labels.labelled(teacher.taught(row, one))
        for row, one in zip(rows, found, strict=True)
        if isinstance(one, Answer)
    ]


def based(
    settings: Settings,
    sizes: Sizes,
    cache: Sequence[Instruction],
    exam: Sequence[Instruction],
    skew: float,
    folder: Path,
) -> tuple[dict[str, Any], Path]:
    """Return the base student's figures and its folder; it is made once for all arms."""
    seed = settings.random_seed
    home = folder / "bases" / slug("base", seed, skew)
    home.mkdir(parents=True, exist_ok=True)
    done, out = home / "base.json", home / "student"
    with FileLock(home / "lock"):
        if not done.exists():
            shutil.rmtree(out, ignore_errors=True)
            untrained = home / "untrained"
            seed_pool.write_student(untrained, settings.student, cache, seed)
            found = examples(untrained, cache, settings)
            tune(found, untrained, out, settings, sizes.base_steps, seed)
            loop = Loop(settings, MockBilling(seed), PROMPTS, exam, no_tuning)
            jsonl.write_document(done, examined(loop, State(0, cache, [], out), exam))
    return {**jsonl.read_document(done), "pool_by_family": by_family(cache)}, out


def no_tuning(*_: object) -> TuneReport:
    """Refuse to tune: the base is tuned apart."""
    raise NotImplementedError("the base is tuned apart")


def examined(loop: Loop, state: State, exam: Sequence[Instruction]) -> dict[str, Any]:
    """Return the student's accuracy on the frozen exam, in all (macro) and by family."""
    answers = loop.respondent(state).respond(exam, loop.settings.random_seed)
    texts = {answer.id: answer.text for answer in answers}
    marks: dict[str, list[bool]] = {}
    for row in exam:
        marks.setdefault(str(row.category), []).append(texts[row.id].strip() == row.expected)
    by = {family: fmean(found) for family, found in marks.items()}
    return {"iteration": str(state.depth), "accuracy": fmean(by.values()), "families": by}


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


def examples(
    before: Path, rows: Sequence[Instruction], settings: Settings
) -> list[chat_format.Example]:
    """Return the supervised examples of `rows` for the student in folder `before`."""
    tokenizer = student.load_tokenizer(before, settings.student)
    encoder = chat_format.ChatFormatter(tokenizer, settings.student.prompt_format)
    return encoder.examples([(row.id, row.messages, _taught(row)) for row in rows])


def tune(
    found: Sequence[chat_format.Example],
    before: Path,
    out: Path,
    settings: Settings,
    steps: int,
    random_seed: int,
) -> TuneReport:
    """Fine-tune for `steps`, else as the default profile does."""
    return finetune.finetune(
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
    tasks = [task_families.solve(row.messages[-1]["content"]) for row in rows]
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
