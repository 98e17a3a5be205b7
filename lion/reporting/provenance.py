"""How an instruction was made, and which student learnt from it: recomputed, never recorded.

A request is a function of params, prompts and the parent, so the ledger can be asked for its reply;
the rows that a student was tuned on are a function of params and pools.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lion import pools
from lion.config import project
from lion.config.settings import Settings
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
from lion.student.chat_format import transcript

_MAX_REQUESTS = 512  # of one parent in one iteration, at most, that are looked for
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Generation:
    """The generator's prompt and reply; `unknown` says why there is none of either."""

    prompt: str | None
    reply: str | None
    unknown: str | None


def how_generated(
    tree: Tree, settings: Settings | None, own: Instruction, parent: Instruction | None
) -> Generation:
    """Return how the generator came to write `own`."""
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
    """Load the generator's prompts as that revision had them. Raises DataError."""
    folder = project.PROMPTS / "generator"
    local = [tree.local(folder / name) for name in prompts.VARIABLES["generator"]]
    existing = next((path for path in local if path is not None), folder / "system.txt")
    return prompts.load(existing.parent, "generator")


def _requests(
    settings: Settings, own: Instruction, parent: Instruction, templates: Prompts
) -> Iterator[Request]:
    """Yield the requests that may have brought `own`, in the order in which they were made."""
    kind = prompt_of(KINDS[KINDS.index(own.origin)], settings.generate_at(own.iteration))
    first = settings.depth(own.iteration) * SAMPLES_PER_DEPTH
    for sample in range(first, first + _MAX_REQUESTS):
        yield generator.generation_request(transcript(parent.messages), kind, templates, sample)


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
            if not replies:  # samples are used in their order
                return None
            for key in keys:
                outcome = protocol.parse(replies[key]) if key in replies else None
                if not isinstance(outcome, Reply):
                    continue
                text = generator.candidate(outcome, parent.id, rules)
                if isinstance(text, str) and _id(text) == own.id:
                    return outcome.text
    return None


def _key(settings: Settings, request: Request) -> bytes:
    body = protocol.body(request, settings.generator, settings.random_seed)
    return protocol.key(settings.generator, protocol.canonical(body), request.sample)


def _id(text: str) -> str:
    return instruction_id([{"role": "user", "content": text}])


def learnt(tree: Tree, settings: Settings | None, iteration: str, identity: str) -> str | None:
    """Return `new` or `replayed` where this iteration's student was tuned on it, else None.

    What the stage dropped as too long is for the caller to say: dropped.tune.jsonl has it.
    """
    train = tree.local(project.data(iteration, "train_pool.jsonl"))
    cache = tree.local(project.data(iteration, "cache_pool.jsonl"))
    if train is None or cache is None:
        return None
    new = set(snapshot.pool_frame(train).get_column("id"))
    rows = [_bare(row_id) for row_id in snapshot.pool_frame(cache).get_column("id")]
    fresh = [row for row in rows if row.id in new]
    if any(row.id == identity for row in fresh):
        return "new"
    if settings is None or not fresh:
        return None
    replay = settings.tune_at(iteration).replay
    depth = settings.depth(iteration)
    old = pools.replayed_at(depth, fresh, rows, replay, settings.random_seed)
    return "replayed" if any(row.id == identity for row in old) else None


def _bare(identity: str) -> Instruction:
    """Return a row that has nothing but its id, which is all that a draw looks at."""
    return Instruction(identity, (), "seed", None, "0")
