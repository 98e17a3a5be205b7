"""teach: the teacher answers the new instructions; the Cache Pool grows by them."""

from lion import jsonl, project, prompts, stage, teacher
from lion.instructions import pools
from lion.metrics.pools import TeachMetrics
from lion.metrics.units import RoleUsage
from lion.records import Answer, Dropped, Instruction, reasons


def teach(work: stage.Work) -> str:
    """Write cache_pool.jsonl: the old rows, and the new ones with their answers."""
    new = jsonl.read(work.data("train_pool.jsonl"), Instruction)
    old = _old(work)
    found, used = _answers(work, [row for row in new if row.answer is None])
    dropped = [row for row in found.values() if isinstance(row, Dropped)]
    share = work.settings.teach.max_dropped
    stage.check_dropped(dropped, share, len(new), "teach.max_dropped")
    taught = [_taught(row, found) for row in new if not isinstance(found.get(row.id), Dropped)]
    jsonl.write(work.data("cache_pool.jsonl"), pools.grow(old, taught))
    work.write_dropped(dropped)
    work.write_metrics(
        TeachMetrics(
            taught=len(taught),
            cache_pool=len(old) + len(taught),
            dropped=reasons(dropped),
            teacher=used,
        )
    )
    return f"{len(taught):,} answers, {len(dropped):,} dropped; {len(old) + len(taught):,} in cache"


def _old(work: stage.Work) -> list[Instruction]:
    if work.iteration == project.BASE:
        return []
    return jsonl.read(work.before("cache_pool.jsonl"), Instruction)


def _answers(
    work: stage.Work, asked: list[Instruction]
) -> tuple[dict[str, Answer | Dropped], RoleUsage]:
    settings = work.settings
    prompt = prompts.load(project.PROMPTS / "teacher", "teacher")
    requests = [teacher.request(row, prompt) for row in asked]
    limit = stage.allowed_failures(settings.teach.max_dropped, len(asked))
    with work.asker("teacher", settings.teacher) as asker:
        outcomes = asker.ask(requests, max_failed=limit)
        used = asker.account.versioned()
    truncated = settings.teach.truncated
    pairs = zip(asked, outcomes, strict=True)
    return {row.id: teacher.answer(row, outcome, truncated) for row, outcome in pairs}, used


def _taught(row: Instruction, found: dict[str, Answer | Dropped]) -> Instruction:
    given = found.get(row.id)
    return teacher.taught(row, given) if isinstance(given, Answer) else row


if __name__ == "__main__":
    stage.main("teach", teach)
