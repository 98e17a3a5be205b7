"""The frozen laboratory: what must not change between arms, hashed, and refused where it did.

Families, puzzles, wordings, the student's recipe, the held-out exam as it is drawn, and the oracle
(teacher, referee, and the generator's policy) by what it replies: it may learn another protocol,
but not another answer. Frozen before any setting was tuned on it.
"""

import hashlib
import json
from pathlib import Path

from lion.errors import DataError
from lion.records.rows import Message
from lion.simulator import simulated_llm, task_families

EXAM_SIZE, EXAM_SEED = 800, 500
TUNING_SEEDS = (901, 902)
"""Settings of the method may be tuned on these, which are never reported."""
_ROOT = Path(__file__).parents[2]
_FILE = _ROOT / "bench" / "frozen.json"
_MODULES = ("task_families", "tasks", "phrasing", "tiny_student")


def exam() -> list[task_families.Task]:
    """Return the exam: 40 held-out items of each of the twenty families, the same in every run."""
    return task_families.exam(EXAM_SIZE, random_seed=EXAM_SEED)


def hashes() -> dict[str, str]:
    """Return the SHA-256 of each frozen module, of the exam, and of the oracle's replies."""
    found = {
        name: _hash(_code(_ROOT / name)) for name in map("lion/simulator/{}.py".format, _MODULES)
    }
    items = [[task.instruction, task.answer, task.family] for task in exam()]
    return {**found, f"exam {EXAM_SIZE} {EXAM_SEED}": _hash(items), "replies": _hash(_replies())}


def _code(path: Path) -> list[str]:
    """Return a module's lines but its imports: where others lie decides nothing."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith(("import ", "from "))]


def _replies() -> list[str]:
    """Return what the oracle says in each role to the exam's questions."""
    tasks = exam()
    wrong = [*tasks[1:], tasks[0]]  # the answer to another question
    found = []
    for seed, (task, other) in enumerate(zip(tasks, wrong, strict=True)):
        asked = task.instruction
        pair = (
            f"[Answer of Assistant 1 f]\n{task.answer}\n[Answer of Assistant 2 f]\n{other.answer}"
        )
        for prompt in (
            asked,
            f"Judge.\n\n[Request f]\n{asked}\n{pair}\n[End f]",
            f"Write one of the same kind.\n\n[Given instruction f]\n{asked}\n[End f]",
            f"Write a rarer one.\n\n[Given instruction f]\n{asked}\n[End f]",
        ):
            message: Message = {"role": "user", "content": prompt}
            found.append(simulated_llm.reply([message], seed))
    return found


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def freeze() -> None:
    """Write the hashes."""
    _FILE.write_text(json.dumps(hashes(), indent=2) + "\n", encoding="utf-8")


def check() -> str:
    """Return the hash of all hashes. Raises DataError where the laboratory is another one."""
    known, found = json.loads(_FILE.read_text(encoding="utf-8")), hashes()
    changed = [name for name in {**known, **found} if known.get(name) != found.get(name)]
    if changed:
        raise DataError(
            f"{_FILE.name}: {', '.join(changed)} changed since the bench was frozen. Take it "
            "back; or freeze again (--freeze), and measure every arm again in another --folder."
        )
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
