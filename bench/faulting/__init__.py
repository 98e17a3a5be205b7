"""Faults done to a finished project, and what is left of it after one `dvc repro`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
