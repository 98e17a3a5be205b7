"""How an instruction was generated, and which student was tuned on it.

A request is a function of params, prompts and the parent, so it is recomputed and its reply looked
up in the ledger. The rows that a student was tuned on stand in its pool and in replayed.json.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lion import pools
from lion.config import project
from lion.config.settings import Settings
from lion.conversations import TaskTemplate, child_conversation, shape_of
from lion.errors import LionError
from lion.generation.generated_pool import SAMPLES_PER_DEPTH, prompt_of
from lion.llm.ledger import Ledger
from lion.pipeline.revisions import Tree
from lion.prompting import generator, protocol
from lion.prompting import templates as prompts
from lion.prompting.protocol import Reply, Request
from lion.prompting.templates import Prompts
from lion.records.rows import KINDS, Instruction, instruction_id
from lion.reporting import snapshot

_MAX_REQUESTS = 512  # looked up for a parent in an iteration
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Generation:
    """The generator's prompt and reply; `unknown` is the reason why either is missing."""

    prompt: str | None
    reply: str | None
    unknown: str | None


def how_generated(
    tree: Tree, settings: Settings | None, own: Instruction, parent: Instruction | None
) -> Generation:
    """Return the generator's request and reply that produced `own`."""
    if settings is None or parent is None or own.origin not in KINDS:
        return Generation(
            None, None, "neither its parent nor the parameters of that time are at hand"
        )
    try:
        templates = _templates(tree)
    except LionError as error:
        return Generation(None, None, str(error))
    requests = list(_requests(settings, own, parent, templates))
    prompt = requests[0].messages[-1]["content"]
    reply = _reply(settings, own, parent, requests)
    missing = "the ledger of this machine has no reply of it (`lion ledger import` adds others')"
    return Generation(prompt, reply, missing if reply is None else None)


def _templates(tree: Tree) -> Prompts:
    """Load the generator's prompts of that revision. Raises DataError."""
    folder = project.PROMPTS / "generator"
    local = [tree.local(folder / name) for name in prompts.VARIABLES["generator"]]
    existing = next((path for path in local if path is not None), folder / "system.txt")
    return prompts.load(existing.parent, "generator")


def _requests(
    settings: Settings, own: Instruction, parent: Instruction, templates: Prompts
) -> Iterator[Request]:
    """Yield the requests that may have produced `own`, in the order in which they were sent."""
    kind = prompt_of(KINDS[KINDS.index(own.origin)], settings.generate_at(own.iteration))
    first = settings.depth(own.iteration) * SAMPLES_PER_DEPTH
    for sample in range(first, first + _MAX_REQUESTS):
        shape = shape_of(parent.messages, TaskTemplate.declared(settings.task))
        yield generator.input_request(parent.messages, shape, kind, templates, sample)


def _reply(
    settings: Settings, own: Instruction, parent: Instruction, requests: list[Request]
) -> str | None:
    if not project.ledger().exists():
        return None
    rules = settings.generate_at(own.iteration)
    with Ledger(project.ledger()) as ledger:
        for start in range(0, len(requests), _CHUNK):
            keys = [_key(settings, request) for request in requests[start : start + _CHUNK]]
            replies = ledger.look_up(keys)
            if not replies:  # samples are used in ascending order
                return None
            for key in keys:
                if key not in replies:
                    continue
                parsed = protocol.parse(replies[key])
                outcome = protocol.without_thoughts(parsed, settings.generator.thinking)
                if not isinstance(outcome, Reply):
                    continue
                text = generator.candidate(outcome, parent.id, rules)
                if isinstance(text, str) and _child_id(parent, text, settings) == own.id:
                    return outcome.text
    return None


def _key(settings: Settings, request: Request) -> bytes:
    body = protocol.body(request, settings.generator, settings.random_seed)
    return protocol.key(settings.generator, protocol.canonical(body), request.sample)


def _child_id(parent: Instruction, text: str, settings: Settings) -> str | None:
    messages = child_conversation(parent.messages, text, TaskTemplate.declared(settings.task))
    return None if messages is None else instruction_id(messages)


def learnt(tree: Tree, settings: Settings | None, iteration: str, identity: str) -> str | None:
    """Return `new` or `replayed` if this iteration's student was tuned on the row, else None.

    Rows kept apart for validation were not tuned on. Rows that tuning dropped as too long are not
    excluded here: dropped.tune.jsonl lists them.
    """
    train = tree.local(project.data(iteration, "train_pool.jsonl"))
    old = tree.local(project.data(iteration, "replayed.json"))
    if train is not None and identity in snapshot.pool_frame(train).get_column("id"):
        return None if _apart(tree, settings, iteration, identity) else "new"
    return "replayed" if old is not None and identity in old.read_text("utf-8") else None


def _apart(tree: Tree, settings: Settings | None, iteration: str, identity: str) -> bool:
    """Return whether a row was kept apart for validation."""
    cache = tree.local(project.data(iteration, "cache_pool.jsonl"))
    if settings is None or cache is None:
        return False
    frame = snapshot.pool_frame(cache).select("id", "iteration")
    rows = [Instruction(row_id, (), "seed", None, name) for row_id, name in frame.iter_rows()]
    apart, _ = pools.validation_rows(rows, settings.tune_at(iteration).validation_share)
    return any(row.id == identity for row in apart)
