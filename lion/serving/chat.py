"""A conversation with a student in the terminal, optionally with the teacher beside it.

The response streams as it is generated. Nothing is kept but the teacher's replies, in the ledger.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, TextStreamer

from lion.config import project
from lion.config.settings import Settings
from lion.conversations import TaskTemplate
from lion.errors import DataError
from lion.escape import inert
from lion.inference.allowed_tokens import AllowedTokens, AnswerGrammar
from lion.inference.answer_schema import answer_schema
from lion.inference.hf_backend import device
from lion.llm.caps import budget_cap
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.llm.prices import Prices
from lion.prompting import teacher as teachers
from lion.prompting import templates as prompts
from lion.prompting.protocol import Failure
from lion.records.rows import Instruction, Message
from lion.student import checkpoint as students
from lion.student.prompt import StudentPrompt, student_messages
from lion.student.student_formatter import formatter_of

Reply = Callable[[list[Message]], str]


class _Inert(TextStreamer):
    """A streamer to the terminal that escapes control characters."""

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print a piece of the answer."""
        super().on_finalized_text(inert(text), stream_end)


class Talker:
    """A loaded student that responds to one conversation and streams each token."""

    def __init__(self, folder: Path, settings: Settings, temperature: float) -> None:
        """Load the student. Raises ModelError."""
        model, self._tokenizer = students.load_student(folder, settings.student)
        self._model: Any = model.to(device())  # type: ignore[arg-type]  # transformers'
        # The checkpoint's own settings (repetition penalty, beams, top-k) would be merged in.
        self._model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # transformers'
        self._encoder = formatter_of(students.resolve(folder), self._tokenizer, settings.student)
        self._prompt = StudentPrompt.read(folder)
        self._max_tokens = settings.answering.max_tokens
        self._temperature = temperature
        schema, stops = answer_schema(settings), self._encoder.stops
        self._grammar = None if schema is None else AnswerGrammar(schema, self._tokenizer, stops)

    def __call__(self, messages: list[Message]) -> str:
        """Stream the response to standard output, and return it. Raises DataError."""
        written = student_messages(messages, self._prompt)
        prompt = torch.tensor([self._encoder.prompt(written)], device=self._model.device)
        sampled: dict[str, Any] = (
            {"do_sample": True, "temperature": self._temperature, "top_k": 0}
            if self._temperature
            else {"do_sample": False}
        )
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                generation_config=GenerationConfig(  # type: ignore[no-untyped-call]  # transformers'
                    max_new_tokens=self._max_tokens,
                    eos_token_id=self._encoder.stops,
                    pad_token_id=self._encoder.end_of_turn,
                    **sampled,
                ),
                logits_processor=self._processors(prompt.shape[1]),
                streamer=_Inert(
                    self._tokenizer,
                    skip_prompt=True,
                    skip_special_tokens=True,
                    clean_up_tokenization_spaces=False,
                ),
            )
        return self._encoder.decode(output[0, prompt.shape[1] :].tolist())

    def _processors(self, width: int) -> LogitsProcessorList:
        if self._grammar is None:
            return LogitsProcessorList()
        return LogitsProcessorList([AllowedTokens(self._grammar.answers(1), width)])


@contextmanager
def teacher(settings: Settings) -> Iterator[Reply]:
    """Yield the teacher, asked as in the loop and through the ledger. Raises AskError."""
    templates = prompts.load(project.PROMPTS / "teacher", "teacher")
    with (
        Ledger(project.ledger()) as ledger,
        LLMClient(
            settings.teacher,
            settings.api,
            ledger,
            settings.random_seed,
            stage="chat",
            prices=Prices.load(project.PRICES),
            cap=budget_cap(settings.budget),
        ) as client,
    ):

        def reply(messages: list[Message]) -> str:
            row = Instruction.new(messages, origin="seed", iteration=project.BASE)
            [outcome] = client.complete([teachers.answer_request(row, templates)])
            if isinstance(outcome, Failure):
                return f"(no answer: {outcome.reason}: {outcome.detail})"
            return outcome.text

        yield reply


def talk(
    listen: Callable[[], str | None],
    say: Callable[[str], None],
    student: Reply,
    teacher: Reply | None,
    task: TaskTemplate | None = None,
) -> int:
    """Answer each line of `listen` until it returns None; return the number of turns.

    Student and teacher see the student's side of the conversation. An empty line starts a new one.
    Of a declared `task` each line is a request of its own. What the chat template refuses is shown,
    and the conversation continues without it.
    """
    messages: list[Message] = []
    turns = 0
    while (said := listen()) is not None:
        if not said.strip():
            messages = []
            say("(a new conversation)")
            continue
        conversation = _next_request(said, messages, task)
        if conversation is None:
            say(f"not of the declared task: write {task.form() if task else 'a text'}")
            continue
        say("student:")
        try:
            answer = student(conversation)
        except DataError as error:
            say(str(error))
            continue
        if teacher is not None:
            say(f"teacher:\n{teacher(conversation)}")
        messages = [*conversation, {"role": "assistant", "content": answer}]
        turns += 1
    return turns


def _next_request(
    said: str, messages: list[Message], task: TaskTemplate | None
) -> list[Message] | None:
    """Return the conversation that a line continues, or the task's; None if it lacks its fields."""
    if task is None:
        return [*messages, {"role": "user", "content": said}]
    values = task.parse(said)
    return None if values is None else task.render(values)
