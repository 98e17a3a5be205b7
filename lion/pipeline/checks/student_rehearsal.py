"""A rehearsal of the base student: its tokenizer at work on the user's rows, before any is paid.

Loads configuration and tokenizer (a hub's model is downloaded, but for its weights), renders every
conversation of the files that params name, compares ids with embeddings and lengths with the
context, and saves and reads the tokenizer once. Loads no weights. transformers is imported lazily:
the simulator's student needs no rehearsal.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lion.config.settings import EMBEDDED, Settings
from lion.conversations import TaskTemplate
from lion.errors import LionError, ModelError
from lion.inference import answer_grammar
from lion.readers import files
from lion.records.rows import Message
from lion.student import checkpoint
from lion.student.chat_format import TEMPLATE, ChatFormatter, Refusal
from lion.student.prompt import StudentPrompt, student_messages
from lion.student.student_formatter import formatter_of
from lion.student.weights import WeightHeaders

_BATCH = 1000  # conversations
_SHOWN = 10  # rows that are listed by their lines
_NO_DECODERS = ("ForMaskedLM", "Classification", "ForQuestionAnswering", "ForMultipleChoice")
_PROBE: tuple[Message, ...] = ({"role": "user", "content": "Reverse the letters: c a f b"},)


@dataclass(frozen=True, slots=True)
class RehearsedRow:
    """The generation prompt of a row: its length in tokens and largest id, or its refusal."""

    place: str
    pool: bool
    length: int = 0
    largest: int = 0
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What the checks look at: the student without its weights, and the rows it has rendered."""

    settings: Settings
    source: checkpoint.Source
    config: Any
    tokenizer: Any
    formatter: ChatFormatter
    rows: Sequence[RehearsedRow]

    @property
    def vocabulary(self) -> int | None:
        """The number of the model's embeddings, None where its configuration does not say."""
        size: int | None = getattr(self.config.get_text_config(), "vocab_size", None)
        return size


def rehearsal_problems(settings: Settings) -> Iterator[str]:
    """Yield what would stop the student, or train it on what no row says, one line each."""
    if settings.student.model == EMBEDDED:
        return
    try:
        rehearsal = _rehearsed(settings)
        for look in (
            _architecture_problems,
            _format_problems,
            _refused_rows,
            _vocabulary_problems,
            _context_problems,
            _save_problems,
            _form_problems,
        ):
            yield from look(rehearsal)
    except ModelError as error:
        yield f"student.model: {error}"


def _form_problems(rehearsal: Rehearsal) -> Iterator[str]:
    """Yield why answers of this tokenizer cannot keep to a schema; the library is another check."""
    if rehearsal.settings.answering.form == "schema" and find_spec("llguidance") is not None:
        try:
            answer_grammar.grammar_tokens(rehearsal.tokenizer, rehearsal.formatter.stops)
        except ModelError as error:
            yield str(error)


def _rehearsed(settings: Settings) -> Rehearsal:
    source = checkpoint.base_source(settings.student)
    config = checkpoint.load_config(source, settings.student)
    tokenizer: Any = checkpoint.tokenizer_of(source, settings.student)
    formatter = formatter_of(source, tokenizer, settings.student)
    rows = [
        row
        for prompt in _prompts(settings)
        for batch in _batches(settings)
        for row in _rendered(formatter, batch, prompt)
    ]
    return Rehearsal(settings, source, config, tokenizer, formatter, rows)


Conversation = tuple[str, bool, Sequence[Message]]
"""The place of a row, whether it is of the base pool, and its messages."""


def _batches(settings: Settings) -> Iterator[list[Conversation]]:
    batch: list[Conversation] = [("any instruction", False, _PROBE)]
    for conversation in _conversations(settings):
        batch.append(conversation)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


def _conversations(settings: Settings) -> Iterator[Conversation]:
    """Yield the rows of the files of pool and exam; those that cannot be read, `inputs` reports."""
    pool = [] if settings.seed.source == EMBEDDED else list(settings.seed.source)
    pool += [name for entry in settings.bootstrap.values() for name in entry.seeds]
    exam = [] if settings.exam.file in (None, EMBEDDED) else [str(settings.exam.file)]
    task = TaskTemplate.declared(settings.task)
    for name in dict.fromkeys([*pool, *exam]):
        try:
            loaded = files.read_rows(Path(name), task)
        except LionError:
            continue
        for row in loaded.rows:
            yield f"{row.file}, line {row.line}", name in pool, row.messages


def _prompts(settings: Settings) -> list[StudentPrompt | None]:
    """Return each prompt that some student has; None is the teacher's own."""
    prompts: list[StudentPrompt | None] = []
    for name in ("0", *settings.iterations):
        prompt = StudentPrompt.of(settings.tune_at(name), settings.task)
        if prompt not in prompts:
            prompts.append(prompt)
    return prompts


def _rendered(
    formatter: ChatFormatter, batch: Sequence[Conversation], prompt: StudentPrompt | None
) -> Iterator[RehearsedRow]:
    prompts = formatter.try_prompts([student_messages(turns, prompt) for _, _, turns in batch])
    for (place, pool, _), tokens in zip(batch, prompts, strict=True):
        if isinstance(tokens, Refusal):
            yield RehearsedRow(place, pool, refusal=tokens.reason)
        else:
            yield RehearsedRow(place, pool, len(tokens), max(tokens, default=0))


def _architecture_problems(rehearsal: Rehearsal) -> Iterator[str]:
    """Yield whether the model is no decoder, or transformers has no code for it.

    Of encoders transformers makes causal models too, with layers that no one has trained.
    """
    from transformers import AutoModelForCausalLM

    config = rehearsal.config
    heads: list[str] = getattr(config, "architectures", None) or [type(config).__name__]
    if "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
        return
    if (
        type(config) not in AutoModelForCausalLM._model_mapping
        or getattr(config, "is_encoder_decoder", False)
        or heads[0].endswith(_NO_DECODERS)
    ):
        yield (
            f"student.model: {rehearsal.source.base} was saved as a {heads[0]}, which is no causal "
            "language model. Name a decoder that generates text."
        )


def _format_problems(rehearsal: Rehearsal) -> Iterator[str]:
    """Yield a format that params name and the student, tuned in another one, does not follow."""
    named, name = rehearsal.settings.student.prompt_format, rehearsal.source.base
    recorded = rehearsal.formatter.recorded
    if named not in ("auto", recorded):
        tuned, fitting = f"in {recorded}", f"{recorded} or auto"
        if recorded == TEMPLATE:
            tuned, fitting = "with its chat template", "auto"
        yield (
            f"student.prompt_format: {named}, but {name} was tuned {tuned} and keeps it. Set "
            f"{fitting}, or remove {checkpoint.PROMPT_FORMAT} from its folder."
        )


def _refused_rows(rehearsal: Rehearsal) -> Iterator[str]:
    refused = [row for row in rehearsal.rows if row.refusal is not None]
    for row in refused[:_SHOWN]:
        yield f"{row.place}: the student's chat template refuses this row: {row.refusal}"
    if len(refused) > _SHOWN:
        yield f"and {len(refused) - _SHOWN} more rows that the student's chat template refuses"
    if refused:
        yield (
            f"student.prompt_format: {len(refused)} rows cannot be rendered by the student's chat "
            "template. Fix their turns, remove the rows, or set `paper`, which takes any turns."
        )


def _vocabulary_problems(rehearsal: Rehearsal) -> Iterator[str]:
    """Yield ids that the tokenizer writes and the model does not embed.

    A special token beyond the embeddings is harmless where no prompt has it: in a text it is text.
    """
    limit, name = rehearsal.vocabulary, rehearsal.source.base
    if limit is None:
        return
    if Path(name).is_dir():
        embeddings = WeightHeaders(Path(name)).embeddings
        if embeddings is not None and embeddings != limit:
            yield (
                f"student.model: {name} embeds {embeddings:,} tokens, its config.json says "
                f"vocab_size: {limit:,}. Fix the latter, or download both again."
            )
            return
    tokens = {id: token for token, id in rehearsal.tokenizer.get_vocab().items() if id >= limit}
    written = {row.largest for row in rehearsal.rows} | set(rehearsal.formatter.stops)
    added = rehearsal.tokenizer.added_tokens_decoder
    special = {id for id, token in added.items() if token.special}
    beyond = sorted(id for id in tokens if id in written or id not in special)
    if beyond:
        yield (
            f"student.model: the tokenizer of {name} has {len(rehearsal.tokenizer):,} tokens, the "
            f"model {limit:,} embeddings: {tokens[beyond[0]]!r} is id {beyond[0]}. Call "
            "`model.resize_token_embeddings(len(tokenizer))` and save both."
        )


def _context_problems(rehearsal: Rehearsal) -> Iterator[str]:
    settings, context = rehearsal.settings, checkpoint.context_length(rehearsal.config)
    tunes = {name: settings.tune_at(name) for name in ("0", *settings.iterations)}
    longest = max(tune.max_length for tune in tunes.values())
    if context is not None and longest > context:
        yield (
            f"tune.max_length: {longest:,} tokens, the student's context has {context:,}. Lower it."
        )
        return
    base, pool = tunes["0"], [row for row in rehearsal.rows if row.pool and row.refusal is None]
    if settings.quality.max_tokens is not None:
        pool = []  # the seed stage drops long rows
    long = [row for row in pool if row.length >= base.max_length]
    allowed = 0 if base.too_long == "error" else base.max_dropped * len(pool)
    if len(long) > allowed:
        yield (
            f"tune.max_length: the prompts of {len(long):,} of {len(pool):,} rows leave no room "
            f"for an answer in {base.max_length:,} tokens, the first {long[0].place} with "
            f"{long[0].length:,}. Raise it, or remove the rows."
        )
    if context is not None:
        full = [row for row in rehearsal.rows if not row.pool and row.length >= context]
        for row in full[:_SHOWN]:
            yield (
                f"{row.place}: its prompt of {row.length:,} tokens leaves no room for an answer in "
                f"the student's context of {context:,}. Shorten the row, or remove it."
            )


def _save_problems(rehearsal: Rehearsal) -> Iterator[str]:
    """Yield whether tokenizer and templates are another after a save, as each iteration makes."""
    settings, name = rehearsal.settings.student, rehearsal.source.base
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "student"
        try:
            with checkpoint.replacing_folder(folder) as new:
                rehearsal.config.save_pretrained(new)
                rehearsal.tokenizer.save_pretrained(new)
        except Exception as error:  # remote code and tokenizers raise any kind
            yield f"student.model: {name} cannot be saved: {error!s:.200}. Name another model."
            return
        again = formatter_of(
            rehearsal.source, checkpoint.load_tokenizer(folder, settings), settings
        )
    before = rehearsal.formatter
    same = again.try_prompts([_PROBE]) == before.try_prompts([_PROBE])
    if not same or again.stops != before.stops:
        yield (
            f"student.model: the tokenizer of {name} encodes otherwise once it is saved and read. "
            "Save it with the installed transformers and name that folder."
        )
