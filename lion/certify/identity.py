"""What a certificate holds for: the student's bytes, its prompts and its decoding, as hashes."""

import hashlib
import json
from pathlib import Path
from typing import Any

from lion.config.settings import Settings
from lion.inference.answer_schema import answer_schema
from lion.metrics.certificates import StudentIdentity
from lion.student import checkpoint, fingerprint


def student_identity(folder: Path, settings: Settings) -> StudentIdentity:
    """Return the identity of the student in `folder`, as params let it answer. Raises ModelError.

    The engine is that of params; `auto` may be another one on another machine.
    """
    student, answering = settings.student, settings.answering
    server = student.endpoint
    prompts = [student.prompt_format, settings.task.model_dump(exclude={"good"})]
    decoding: dict[str, Any] = {
        "temperature": answering.temperature,
        "max_tokens": answering.max_tokens,
        "engine": answering.engine,
        "dtype": student.dtype,
        "endpoint": None if server is None else server.model_dump(exclude={"api_key_env"}),
    }
    schema = answer_schema(settings)
    if schema is not None:
        decoding["schema"] = schema
    return StudentIdentity(
        student_sha256=fingerprint.fingerprint(checkpoint.resolve(folder)),
        prompt_sha256=_hash(prompts),
        decoding_sha256=_hash(decoding),
        logprobs=f"{answering.engine}, raw, of chosen tokens" if server is None else "server",
    )


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
