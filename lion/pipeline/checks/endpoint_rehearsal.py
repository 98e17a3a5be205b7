"""A rehearsal of the endpoints: each role answers one paid question, read as its stage reads it.

What would stop a stage is a problem; what is odd about a reply is a notice, which stops nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lion import console
from lion.config import project
from lion.config.settings import EMBEDDED, Endpoint, Settings, Thinking
from lion.errors import LionError
from lion.escape import line
from lion.llm.client import LLMClient
from lion.llm.ledger import Ledger
from lion.llm.odd_replies import SENTENCES, Oddity, oddities
from lion.pipeline.checks.endpoints import role_endpoints
from lion.pipeline.checks.role_questions import RoleQuestion, role_questions, rows_to_ask
from lion.pipeline.endpoint_pace import EndpointPace, EndpointPaces
from lion.prompting import judge_parser, protocol, replies
from lion.prompting.protocol import Failure, Outcome, Reply

_SHOWN = 80  # characters of a reply
_CUT_OFF = ("truncated", "cap_spent")
_ROWS = 3  # asked of a role whose replies are cut off: one row's answer may be the longest


@dataclass(frozen=True, slots=True)
class RehearsedReply:
    """A question, what came back after `seconds`, with its thoughts and as the stage sees it.

    `reason` is why the stage would drop it, None where it would use it.
    """

    question: RoleQuestion
    raw: Outcome
    outcome: Outcome
    reason: str | None
    seconds: float

    @property
    def where(self) -> str:
        """Whom the question was for: parameter, model and address."""
        endpoint = self.question.endpoint
        return f"{self.question.parameter}: {endpoint.model} at {endpoint.base_url}"


def probe_endpoints(settings: Settings) -> list[str]:
    """Ask each role one question; return what would stop its stage, one problem per line.

    The same request to the same endpoint is sent once. Where the cap cuts a reply off, up to two
    further rows are asked: it is a problem only where all are cut off. The ledger is bypassed,
    since its replies say nothing about today. Writes a notice for what is odd, and keeps latencies
    for `lion plan`.
    """
    problems: list[str] = []
    calls: list[EndpointPace] = []
    by_row = [list(role_questions(settings, row)) for row in rows_to_ask(settings, _ROWS)]
    with Ledger(project.ledger()) as ledger:
        for question in _distinct(by_row[0]):
            of_role = [q for row in by_row for q in row if q.parameter == question.parameter]
            try:
                reply = _first_whole(of_role, settings, ledger)
            except LionError as error:
                problems.append(f"{question.parameter}: {error}")
                continue
            problems += _problems(reply)
            calls += _paces(reply)
            for words in _notices(reply):
                console.say(f"notice: {reply.where}: {words}")
        if calls:
            EndpointPaces(tuple(calls)).write()
        return problems or list(_batch_problems(settings, ledger))


def _distinct(questions: Iterable[RoleQuestion]) -> list[RoleQuestion]:
    kept: list[RoleQuestion] = []
    for question in questions:
        if not any(map(question.repeats, kept)):
            kept.append(question)
    return kept


def _first_whole(
    questions: Iterable[RoleQuestion], settings: Settings, ledger: Ledger
) -> RehearsedReply:
    """Return the first reply that the cap does not cut off, or the last; say how many it cut."""
    cut_off: list[RehearsedReply] = []
    for question in questions:
        reply = _answered(question, settings, ledger)
        if reply.reason not in _CUT_OFF:
            if cut_off:
                console.say(
                    f"notice: {reply.where}: the token cap cut {len(cut_off)} of "
                    f"{len(cut_off) + 1} replies off: such rows are dropped. Raise {_cap(question)}"
                )
            return reply
        cut_off.append(reply)
    return cut_off[-1]


def _answered(question: RoleQuestion, settings: Settings, ledger: Ledger) -> RehearsedReply:
    with LLMClient(question.endpoint, settings.api, ledger, settings.random_seed) as client:
        raw, seconds = client.probe(question.request), client.usage.percentile(50)
    outcome = protocol.without_thoughts(raw, question.endpoint.thinking)
    return RehearsedReply(question, raw, outcome, question.reason(outcome), seconds)


def _paces(reply: RehearsedReply) -> Iterator[EndpointPace]:
    """Yield what a call over the network says of the endpoint's pace."""
    endpoint, raw, seconds = reply.question.endpoint, reply.raw, reply.seconds
    if endpoint.base_url == EMBEDDED or isinstance(raw, Failure) or not seconds:
        return
    tokens = None if raw.usage is None else raw.usage.completion
    yield EndpointPace(
        role=reply.question.role,
        base_url=endpoint.base_url,
        model=endpoint.model,
        latency_seconds=seconds,
        completion_tokens_per_second=tokens / seconds if tokens else None,
    )


# --- what the stage makes of it -----------------------------------------------------------------

_NO_PROBLEM: Mapping[str, str] = {
    "content_filter": "its filter refused the question",
    "refused": "the model refused the question",
    "unknown_finish_reason": (
        "its finish_reason {finish_reason!r} is in no table, so the reply is not taken for whole "
        "and dropped. What it means goes into lion/prompting/replies.py"
    ),
    "refusal": "the reply is a refusal, which no instruction is made of",
    "several": "the reply holds several instructions, or one with its answer: it is dropped",
    "too_short": "the instruction is shorter than generate.min_words: it is dropped",
    "start": "the instruction starts with no ASCII letter or digit: it is dropped",
    "own_prompt": "the instruction mentions the prompt itself: it is dropped",
}
"""Reasons that drop a row and need not drop the next; a notice."""

_NO_SCORES = (
    'its reply has no scores that can be read ({reason}): "{text}". {form}, or name another model.'
)
_PROBLEMS: Mapping[str, str] = {
    "cap_spent": (
        "the reply is empty, the token cap was spent (hidden reasoning?). Raise {cap}, or lower "
        "its reasoning effort."
    ),
    "truncated": 'the token cap cut the reply off: "{text}". Raise {cap}.',
    "empty_reply": "empty_reply: {detail}. Try again; if it stays empty, name another model.",
    "foreign_reply": (
        "the reply is no chat completion, but {detail}. Is base_url right? It often ends in /v1."
    ),
    "thinking": (
        "it thinks in the content, and `thinking: refuse` drops such replies. Set "
        "{parameter}.thinking: strip."
    ),
    "malformed": 'its reply holds no new instruction: "{text}". Name another model.',
    "no_scores": _NO_SCORES,
    "one_score": _NO_SCORES,
    "out_of_range": _NO_SCORES,
    "contradictory": _NO_SCORES,
}
_OTHER = "{reason}: {detail}. Is the server up, and base_url right?"


def _problems(reply: RehearsedReply) -> Iterator[str]:
    """Yield what would stop the stage of a role that answers so."""
    outcome, reason = reply.outcome, reply.reason
    if reason is not None and reason not in _NO_PROBLEM:
        words = _PROBLEMS.get(reason, _OTHER).format(
            reason=reason,
            parameter=reply.question.parameter,
            detail=outcome.detail if isinstance(outcome, Failure) else "",
            text=line(outcome.text, _SHOWN) if isinstance(outcome, Reply) else "",
            cap=_cap(reply.question),
            form=_other_form(reply.question),
        )
        yield f"{reply.where}: {words}"


def _cap(question: RoleQuestion) -> str:
    """Return which parameter caps the tokens of a reply, and its value."""
    request = question.endpoint.request
    for name in ("max_completion_tokens", "max_tokens"):
        if name in request:
            return f"{question.parameter}.request.{name} ({request[name]})"
    return f"the server's own cap by {question.parameter}.request.max_tokens, which is not set"


def _other_form(question: RoleQuestion) -> str:
    form = "schema" if question.request.response_format is None else "text"
    return f"Set {question.parameter}.form: {form}"


# --- what is odd about it -----------------------------------------------------------------------

_THOUGHTS: Mapping[Thinking, str] = {
    "strip": "they are taken out of the answer",
    "keep": "they stay in the answer",
    "refuse": "such replies are dropped",
}


def _notices(reply: RehearsedReply) -> Iterator[str]:
    """Yield what is odd about a reply."""
    words = _NO_PROBLEM.get(reply.reason or "")
    if words is not None:
        yield words.format(finish_reason=_finish_reason(reply.raw))
    if isinstance(reply.raw, Reply):
        yield from _oddities(reply.question.endpoint, reply.raw)
        yield from (SENTENCES[oddity] for oddity in _by_counts(reply))
    if _passes_over_its_schema(reply):
        yield (
            "it does not keep to the JSON schema that it was sent; its scores were read as text. "
            f"Set {reply.question.parameter}.form: text"
        )


def _by_counts(reply: RehearsedReply) -> Iterator[Oddity]:
    question = reply.question
    body = protocol.canonical(protocol.body(question.request, question.endpoint, 0))
    return oddities(body, reply.raw, question.endpoint)


def _finish_reason(raw: Outcome) -> str:
    return line(raw.finish_reason, 40) if isinstance(raw, Reply) else ""


def _oddities(endpoint: Endpoint, reply: Reply) -> Iterator[str]:
    if reply.usage is None:
        yield "it counts no tokens, so a budget charges each call what was reserved for it"
    if replies.split_thoughts(reply.text)[0]:
        thinking = endpoint.thinking
        yield f"it thinks in the content: `thinking: {thinking}`, {_THOUGHTS[thinking]}"
    if reply.model not in (endpoint.model, "unknown"):
        yield f"the model that answered calls itself {line(reply.model, _SHOWN)!r}"


def _passes_over_its_schema(reply: RehearsedReply) -> bool:
    """Return whether the scores of a reply to a schema could be read from its text alone."""
    if reply.question.request.response_format is None or reply.reason is not None:
        return False
    outcome = reply.outcome
    return isinstance(outcome, Reply) and judge_parser.from_json(outcome.text) is None


def _batch_problems(settings: Settings, ledger: Ledger) -> Iterator[str]:
    """Yield the roles set to batch whose endpoint has no Batch API. Costs nothing."""
    for role, name, endpoint in role_endpoints(settings):
        if getattr(settings.api.mode, role) == "batch":
            try:
                with LLMClient(endpoint, settings.api, ledger, settings.random_seed) as client:
                    client.check_batch_api()
            except LionError as error:
                yield f"{name}: {error}"
