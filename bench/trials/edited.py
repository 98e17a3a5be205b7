"""What the projects of a bench's folder were edited by: one trial a folder."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "edit.json"


def claim(folder: Path, edit: Mapping[str, Any]) -> None:
    """Note in `folder` what its projects are edited by. Exits where others lie there."""
    noted = folder / NAME
    if noted.exists():
        before = json.loads(noted.read_text(encoding="utf-8"))
    elif folder.exists() and any(folder.iterdir()):
        before = {}
    else:
        before = edit
    if before != edit:
        sys.exit(
            f"{folder}: its projects were edited by {json.dumps(before)}; name another --folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    noted.write_text(json.dumps(edit) + "\n", encoding="utf-8")
