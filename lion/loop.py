"""The loop in one process: the phase functions of an iteration, one after the other.

For experiments and tests. Decides nothing, so no stage depends on it; DVC chains the stages, which
call the same functions with files between them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lion.config.settings import Settings
from lion.discrimination.review import Reviewed, review, review_by_likelihood
from lion.discrimination.split import Divided, split
from lion.generation.generate import Generated, History, generate
from lion.generation.teach import Taught, teach
from lion.inference.respond import respond, score_answers
from lion.inference.respondent import Respondent
from lion.llm.protocols import Clients
from lion.prompting.templates import PromptRole, Prompts
from lion.records.rows import Instruction, Verdict
from lion.training.tune import FineTune, Tuned, tune


@dataclass(frozen=True, slots=True)
class State:
    """What an iteration starts from: the Cache Pool, its verdicts, and the student's checkpoint.

    `depth` is the number of iterations behind it, 0 for the base; `replayed` are the ids of the old
    rows that the student was tuned on last.
    """

    depth: int
    cache: Sequence[Instruction]
    verdicts: Sequence[Verdict]
    student: Path
    replayed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Iteration:
    """What the phases of one iteration returned; None where a phase had nothing to do."""

    reviewed: Reviewed | None
    divided: Divided | None
    generated: Generated
    taught: Taught
    tuned: Tuned | None


@dataclass(frozen=True, slots=True)
class Loop:
    """What all iterations share. `exams` are rows that no pool may give away.

    `templates` are the prompts of referee, generator and teacher. `fine_tune` trains a checkpoint.
    """

    settings: Settings
    clients: Clients
    templates: Mapping[PromptRole, Prompts]
    exams: Sequence[Instruction]
    fine_tune: FineTune

    def iterate(self, state: State, out: Path) -> tuple[State, Iteration]:
        """Run one iteration from `state`; write its student to the folder `out`.

        Where no one reads verdicts, nothing is judged.
        """
        depth = state.depth + 1
        reviewed, divided = None, None
        if self.settings.no_reader(self.settings.generate) is None:
            reviewed, divided = self._judged(state, depth)
        verdicts = divided.verdicts if divided else []
        generated = generate(
            History(state.cache, verdicts, state.verdicts, frozenset(state.replayed)),
            self.exams,
            self.settings,
            self.clients,
            self.templates,
            iteration=str(depth),
            depth=depth,
            stopped=divided is not None and divided.stop_reason is not None,
        )
        settings, templates = self.settings, self.templates["teacher"]
        taught = teach(generated.kept, state.cache, settings, self.clients, templates)
        new = {row.id for row in generated.kept}
        tuned = tune(
            taught.cache,
            new,
            state.student,
            out,
            settings,
            settings.tune,
            self.fine_tune,
            depth=depth,
            verdicts=verdicts,
        )
        replayed = tuned.replayed if tuned else ()
        after = State(depth, taught.cache, verdicts, out if tuned else state.student, replayed)
        return after, Iteration(reviewed, divided, generated, taught, tuned)

    def respondent(self, state: State) -> Respondent:
        """Return the student of a state, ready to respond."""
        return Respondent(state.student, str(state.depth), self.settings, self.clients)

    def _judged(self, state: State, depth: int) -> tuple[Reviewed, Divided]:
        settings, respondent = self.settings, self.respondent(state)
        cache, clients, templates = state.cache, self.clients, self.templates["referee"]
        if settings.review.judge == "likelihood":
            rows = score_answers(cache, respondent, settings, depth=depth)
            reviewed = review_by_likelihood(cache, rows, settings, clients, templates)
        else:
            answers = respond(cache, respondent, settings, depth=depth)
            before = state.verdicts
            reviewed = review(cache, answers, before, settings, clients, templates, depth=depth)
        divided = split(
            reviewed.selections,
            reviewed.reviews,
            state.verdicts,
            reviewed.reliability.noise_points,
            settings.split,
            random_seed=settings.random_seed,
            depth=depth,
        )
        return reviewed, divided
