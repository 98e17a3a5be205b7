"""docs/reliability.md from the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Row = dict[str, Any]


def write(rows: list[Row], path: Path) -> None:
    """Write the report."""
