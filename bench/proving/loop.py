"""One arm, one seed, one skew: the shipped loop in one process, the oracle called as a function.

`lion.loop` runs each iteration, so that what is measured is what the stages do; only the protocol
is left out, and the clients bill. All arms of a regime, seed and skew start from one base student.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
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
from lion.student.student_formatter import student_formatter
from lion.training import finetune
from lion.training.report import TuneReport
from proving import frozen, money, signals
from proving.arms import Arm, Sizes
from proving.money import MockBilling
from proving.registered import REGIMES, SETTINGS

ROOT = Path(__file__).parents[2]
ROLES: tuple[PromptRole, ...] = ("teacher", "referee", "generator")
PROMPTS = {role: templates.load(ROOT / "prompts" / role, role) for role in ROLES}
FRUGAL = {"limit": 300, "second_order_margin": 1.0, "same_answer": "skip"}
_DIGITS = 6  # of figures that are stored

Row = dict[str, Any]
Finished = Callable[[str], Row]
"""Returns the result of a finished arm of the same regime, skew and seed, by its name."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an arm runs: its regime, skew and seed, and the folder of bases and scratch."""

    regime: str
    skew: float
    seed: int
    folder: Path

    @property
    def sizes(self) -> Sizes:
        """The sizes of the regime."""
        return REGIMES[self.regime]

    @property
    def slug(self) -> str:
        """A name for files."""
        return f"{self.regime}_skew-{self.skew:g}_seed-{self.seed}"


@dataclass(slots=True)
class Run:
    """An arm on its way: its loop, what it has spent, and where it stands."""

    arm: Arm
    settings: Settings
    exam: list[Instruction]
    state: State
    work: Path
    billing: MockBilling = field(init=False)
    _tuning: Row = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin to bill."""
        self.billing = MockBilling(self.settings.random_seed, money.NOISY)

    def iteration(self) -> Row:
        """Run one iteration; return its figures."""

        def fine_tune(
            examples: Sequence[chat_format.Example],
            _: Sequence[chat_format.Example],
            before: Path,
            out: Path,
            rules: Tune,
            random_seed: int,
        ) -> TuneReport:
            length = fmean(len(example.input_ids) for example in examples)
            seen = round(int(rules.steps or 0) * rules.batch_size * length)
            self._tuning = {"steps": rules.steps, "rows": len(examples), "tokens": seen}
            return tune(examples, before, out, self.settings, rules, random_seed)

        loop = Loop(self.settings, self.billing, PROMPTS, self.exam, fine_tune)
        areas = signals.areas(loop, self.state) if self.arm.measured else None
        depth, before = self.state.depth + 1, self.state.student
        self.state, iteration = loop.iterate(self.state, self.work / f"student-{depth}")
        if before.parent == self.work:
            shutil.rmtree(before)  # 12 iterations of 12 arms would fill a disk
        measured = {} if areas is None else {"auc": areas}
        return {**examined(loop, self.state, self.exam), **self._figures(iteration), **measured}

    def _figures(self, iteration: Iteration) -> Row:
        new = iteration.taught.new
        verdicts = self.state.verdicts
        share = discrimination.measures(verdicts).hard_share if verdicts else None
        return {
            **self._tuning,
            "new": len(new),
            "supervised_tokens": iteration.tuned.report.tokens if iteration.tuned else 0,
            "hard_share": None if share is None else round(share, _DIGITS),
            "new_by_family": by_family(new),
            **self.billing.counts(),
        }


def prove(arm: Arm, place: Place, finished: Finished) -> Row:
    """Run one arm and return its figures."""
    settings, scale = configured(arm, place, finished)
    exam = exam_rows()
    cache = base_pool(settings, place.seed)
    base, checkpoint = based(settings, place, cache, exam)
    work = place.folder / "work" / f"{place.slug}_{plain_name(arm.name)}"
    shutil.rmtree(work, ignore_errors=True)
    run = Run(arm, settings, exam, State(0, cache, [], checkpoint), work)
    iterations = [run.iteration() for _ in range(arm.iterations)]
    shutil.rmtree(work, ignore_errors=True)
    where = {"regime": place.regime, "skew": place.skew, "seed": place.seed, "arm": arm.name}
    return {**where, "scale": round(scale, _DIGITS), "base": base, "iterations": iterations}


def configured(arm: Arm, place: Place, finished: Finished) -> tuple[Settings, float]:
    """Return the settings of an arm, and by how much its spend lets it grow."""
    profile, sizes = project.load_settings(ROOT / "profiles" / "default.yaml"), place.sizes
    scale = 1.0
    if arm.spend_of is not None:
        reference, plain = (
            money.dollars(finished(name)["iterations"][-1], arm.price)
            for name in (arm.spend_of, arm.plain)
        )
        scale = reference / plain
    hard, easy = round(sizes.hard * scale), round(sizes.easy * scale)
    steps = sizes.steps if arm.fixed_steps else round(sizes.steps * scale)
    rules = FRUGAL if arm.frugal else {}
    changes: dict[str, Row] = {
        "generate": {
            "hard": hard,
            "easy": easy,
            "feedback": arm.feedback,
            "choice": arm.choice,
        },
        "seed": {"size": sizes.pool, "skew": place.skew},
        "respond": {"limit": sizes.judged},
        "review": {"judge": arm.judge, **rules},
        "split": {"tau": arm.tau},
        "tune": {
            **rates(sizes.later_rate),
            "steps": steps,
            "replay_choice": arm.replay_choice,
        },
        "base": {"tune": {**rates(1.0), "steps": sizes.base_steps}},
    }
    sections = {
        name: getattr(profile, name).model_copy(update={**SETTINGS.get(name, {}), **change})
        for name, change in changes.items()
    }
    return profile.model_copy(update={"random_seed": place.seed, **sections}), scale


def rates(share: float) -> Row:
    """Return a share of the base's learning rates."""
    names = ("learning_rate", "matrix_learning_rate")
    return {name: SETTINGS["tune"][name] * share for name in names}


def base_pool(settings: Settings, seed: int) -> list[Instruction]:
    """Return the base pool with the teacher's answers, the same for every arm."""
    rows, _ = seed_pool.base_pool(settings.seed, seed)
    requests = [teacher.answer_request(row, PROMPTS["teacher"]) for row in rows]
    with MockBilling(seed).open("teacher", settings.teacher) as client:
        replies = client.complete(requests)
    answers = [
        teacher.parse_answer(row, reply, "drop") for row, reply in zip(rows, replies, strict=True)
    ]
    return [
        topic_labels.labelled(teacher.taught(row, answer))
        for row, answer in zip(rows, answers, strict=True)
        if isinstance(answer, Answer)
    ]


def based(
    settings: Settings, place: Place, cache: Sequence[Instruction], exam: Sequence[Instruction]
) -> tuple[Row, Path]:
    """Return the base student's figures and its folder; it is made once for all arms."""
    seed = settings.random_seed
    home = place.folder / "bases" / place.slug
    home.mkdir(parents=True, exist_ok=True)
    done, out = home / "base.json", home / "student"
    with FileLock(home / "lock"):
        if not done.exists():
            shutil.rmtree(out, ignore_errors=True)
            untrained = home / "untrained"
            seed_pool.write_student(untrained, settings.student, cache, seed)
            rows = examples(untrained, cache, settings)
            tune(rows, untrained, out, settings, settings.tune_at(project.BASE), seed)
            loop = Loop(settings, MockBilling(seed), PROMPTS, exam, no_tuning)
            jsonl.write_document(done, examined(loop, State(0, cache, [], out), exam))
    return {**jsonl.read_document(done), "pool_by_family": by_family(cache)}, out


def no_tuning(*_: object) -> TuneReport:
    """Refuse to tune: the base is tuned apart."""
    raise AssertionError("this loop examines only: the base is tuned apart")


def examined(loop: Loop, state: State, exam: Sequence[Instruction]) -> Row:
    """Return the student's accuracy on the frozen exam, in all (macro) and by family."""
    answers = loop.respondent(state).respond(exam, loop.settings.random_seed)
    texts = {answer.id: answer.text for answer in answers}
    marks: dict[str, list[bool]] = {}
    for row in exam:
        marks.setdefault(str(row.category), []).append(texts[row.id].strip() == row.expected)
    by = {family: round(fmean(right), _DIGITS) for family, right in marks.items()}
    accuracy = round(fmean(by.values()), _DIGITS)
    return {"iteration": str(state.depth), "accuracy": accuracy, "families": by}


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
    encoder = student_formatter(before, settings.student)
    return encoder.examples([(row.id, row.messages, _taught(row)) for row in rows])


def tune(
    rows: Sequence[chat_format.Example],
    before: Path,
    out: Path,
    settings: Settings,
    rules: Tune,
    random_seed: int,
) -> TuneReport:
    """Fine-tune the student in folder `before`."""
    return finetune.finetune(
        rows,
        student=before,
        out=out,
        settings=settings.student,
        tune=rules,
        hardware=settings.hardware,
        random_seed=random_seed,
    )


def by_family(rows: Sequence[Instruction]) -> dict[str, int]:
    """Return how many instructions are of each family, by the oracle's own reading."""
    tasks = [task_families.solve(row.messages[-1]["content"]) for row in rows]
    return dict(sorted(Counter(task.family for task in tasks if task is not None).items()))


def plain_name(name: str) -> str:
    """Return an arm's name for files."""
    return "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in name)


def _taught(row: Instruction) -> str:
    assert row.answer is not None
    return row.answer.text
