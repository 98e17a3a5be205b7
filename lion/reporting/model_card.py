"""The model card of an exported student, filled in from pools, metrics and params.

Whatever the run does not record is printed as unknown.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import yaml

from lion import __version__, iterations
from lion.config import project
from lion.config.settings import EMBEDDED, TICKETS, Endpoint, Settings
from lion.conversations import TaskTemplate
from lion.errors import ModelError
from lion.inference.answer_schema import answer_schema, response_format
from lion.iterations import IterationMetrics
from lion.pipeline.stale_outputs import StaleOutputs
from lion.records import jsonl
from lion.records.rows import Instruction, Message
from lion.reporting import certificates, numbers
from lion.student import checkpoint as students
from lion.student import hub
from lion.student.prompt import StudentPrompt, student_messages

UNKNOWN = "unknown"
_SIMULATED = {EMBEDDED: "the embedded task families", TICKETS: "the simulated support tickets"}


def model_card(settings: Settings, iteration: str, licence: str | None) -> str:
    """Return the text of README.md for the student of `iteration`.

    `licence` is the owner's; without it the base model's own card is read. Raises ModelError where
    there is no such student, DataError where its pool is damaged.
    """
    from huggingface_hub import ModelCardData

    base = students.resolve(project.BASE_STUDENT)
    licence = licence or _licence_of(base)
    data = ModelCardData(
        base_model=None if settings.student.model == EMBEDDED else settings.student.model,
        library_name="transformers",
        license=None if licence == UNKNOWN else licence,
        pipeline_tag="text-generation",
        tags=["distillation", "lion"],
    )
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# Student {iteration}\n\nDistilled with Lion {__version__}, by the method of *Lion: "
        "Adversarial Distillation of Proprietary LLMs* (EMNLP 2023).",
        "## Lineage\n\n" + "\n".join(_lineage(settings, iteration, base)),
        "## Scores\n\n" + "\n".join(_scores(settings, iteration)),
        "## Use\n\n" + _use(settings, iteration),
        *_certificate(settings, iteration),
        "## Data\n\n" + "\n".join(_data(settings, iteration)),
        "## Licences\n\n" + "\n".join(_licences(settings, licence)),
        f"## Params\n\n```yaml\n{_params(settings)}```",
    ]
    return "\n\n".join(parts) + "\n"


def chain(settings: Settings, iteration: str) -> list[str]:
    """Return the iterations, or baselines, that lead to `iteration`, the base first."""
    return [*settings.lineage(iteration), project.BASE][::-1]


def _lineage(settings: Settings, iteration: str, base: students.Source) -> Iterator[str]:
    model = settings.student.model
    described = "the embedded recipe, drawn at random" if model == EMBEDDED else model
    commit = f" at {base.revision}" if base.revision else ""
    names = " → ".join(f"student {name}" for name in chain(settings, iteration))
    yield f"{described}{commit} → {names}"
    for role in ("teacher", "referee", "generator"):
        endpoint: Endpoint = getattr(settings, role)
        yield f"\n{role.capitalize()}: {endpoint.model} at {endpoint.base_url}"
    own = settings.evaluate.referee
    if own is not None:
        yield f"\nReferee of the exam: {own.model} at {own.base_url}"
    elif settings.evaluate.quality:
        yield "\nReferee of the exam: the same as the loop's"


def _scores(settings: Settings, iteration: str) -> Iterator[str]:
    every = {name: settings.previous(name) for name in settings.lineage(iteration)}
    read = StaleOutputs.of_workspace().read_current
    lines = {line.iteration: line for line in iterations.lines(every, read)}
    yield "| iteration | new rows | hard share | accuracy | teacher's | quality |"
    yield "|---|---|---|---|---|---|"
    for name in chain(settings, iteration):
        yield "| " + " | ".join(_cells(lines[name])) + " |"
    yield f"\nAccuracy by `{settings.exam.scorer.kind}` on {settings.exam.file or 'held-out rows'};"
    yield f"quality is the scores of the student over the teacher's, by {settings.grader}."
    yield "A dash is not known."


def _cells(line: IterationMetrics) -> list[str]:
    return [
        line.iteration,
        numbers.count(line.train_pool),
        numbers.share(line.hard_share),
        numbers.share(line.accuracy_share),
        numbers.share(line.teacher_accuracy_share),
        numbers.percent(line.quality_percent),
    ]


def _use(settings: Settings, iteration: str) -> str:
    """Return a request in the form in which the student was trained."""
    task = TaskTemplate.declared(settings.task)
    messages: list[Message] = [{"role": "user", "content": "<instruction>"}]
    if task is not None:
        messages = task.render({name: f"<{name}>" for name in task.fields})
    prompt = StudentPrompt.read(project.data(iteration, "student"))
    body = {
        "model": f"student-{iteration}",
        "messages": student_messages(messages, prompt),
        "temperature": settings.answering.temperature,
        "max_tokens": settings.answering.max_tokens,
    }
    schema = answer_schema(settings)
    if schema is not None:
        body["response_format"] = response_format(schema)
    text = json.dumps(body, indent=2, ensure_ascii=False)
    shorter = "" if prompt is None else " Its prompt is shorter than the teacher's."
    return (
        f"It was trained on requests of this form, for a server's `/v1/chat/completions` or a "
        f"tokenizer's `apply_chat_template`.{shorter}\n\n```json\n{text}\n```"
    )


def _certificate(settings: Settings, iteration: str) -> Iterator[str]:
    """Yield the section of the certificate, where the student has one."""
    read = StaleOutputs.of_workspace().read_current
    metrics = certificates.read_certificate(iteration, read)
    if metrics is None:
        return
    every = {name: entry.previous for name, entry in settings.iterations.items()}
    lines = iterations.lines(every, read)
    identity = metrics.identity
    hashes = (identity.student_sha256, identity.prompt_sha256, identity.decoding_sha256)
    student, prompts, decoding = (f"`{digest[:12]}`" for digest in hashes)
    yield (
        "## What it may answer alone\n\n"
        f"Student {iteration}: {certificates.certificate_sentence(metrics)}. Tested on "
        f"{metrics.rows:,} rows that it was neither trained nor selected on; its score: "
        f"{metrics.score}.\n\n"
        f"{certificates.money_sentence(iteration, metrics, lines, settings)}\n\n"
        f"It holds for requests like those rows, for the student {student}, the prompts {prompts} "
        f"and the decoding {decoding}; a change of any of them voids it."
    )


def _data(settings: Settings, iteration: str) -> Iterator[str]:
    path = project.data(iteration, "cache_pool.jsonl")
    origins = Counter(row.origin for row in jsonl.read(path, Instruction))
    parts = ", ".join(f"{origin} {count:,}" for origin, count in sorted(origins.items()))
    total = sum(origins.values())
    source = settings.seed.source
    files = _SIMULATED[source] if isinstance(source, str) else ", ".join(source)
    yield f"Cache Pool: {total:,} instructions with the teacher's answers ({parts})."
    yield f"Seeds: {files}. No row of the exam was trained on."


def _licences(settings: Settings, licence: str) -> Iterator[str]:
    yield f"* base model: {licence}"
    yield "* seeds: " + (
        "made by this project (Apache-2.0)"
        if settings.seed.simulated
        else f"{UNKNOWN}; ask who gave them"
    )
    if settings.teacher.base_url != EMBEDDED:
        yield f"* answers: the terms of {settings.teacher.model}'s provider apply to their use"


def _licence_of(base: students.Source) -> str:
    """Return the licence that the base model's own card names, or UNKNOWN."""
    from huggingface_hub import ModelCard

    folder = Path(base.base)
    if folder.is_dir() and not (folder / "README.md").is_file():
        return UNKNOWN
    try:
        with hub.translated(base.base):
            card = ModelCard.load(folder / "README.md" if folder.is_dir() else base.base)
    except ModelError:
        return UNKNOWN  # offline, or the model was removed
    return str(card.data.to_dict().get("license", UNKNOWN))


def _params(settings: Settings) -> str:
    text: str = yaml.safe_dump(settings.model_dump(), sort_keys=False, allow_unicode=True)
    return text
