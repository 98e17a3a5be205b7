"""The real instructions beside the project, where they are there. Claims nothing itself."""

import json
from collections.abc import Iterator
from pathlib import Path

SHARED = Path(__file__).parents[2] / "shared" / "data" / "instructions"


def real_rows(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (instruction, input) of the real files; of self-instruct its first instance."""
    for name in ("seed_tasks_175", "user_oriented_252"):
        for line in (folder / f"{name}.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            yield row["instruction"], row["instances"][0]["input"]
    for name in ("gpteacher_roleplay", "gpteacher_toolformer", "gsm8k_train"):
        for row in json.loads((folder / f"{name}.json").read_text("utf-8")):
            yield row["instruction"], row["input"]
