"""What tests of the profile `narrow` share: its params at a tiny size, and stages called here."""

import importlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from fixtures import ROOT, override

from lion.config.validation import read_settings
from lion.pipeline.stage import Work
from lion.records import output_marks

NARROW: dict[str, Any] = yaml.safe_load((ROOT / "profiles/narrow.yaml").read_text())
TINY: Mapping[str, Any] = {
    "seed.size": 120,
    "exam.size": 36,
    "generate.hard": 6,
    "generate.easy": 4,
    "generate.requests_per_round": 8,
    "tune.steps": 3,
    "base.tune.steps": 8,
    "evaluate.quality": 6,
    "evaluate.resamples": 20,
    "hardware.save_every": None,
    "iterations": {"1": {"previous": "0", "generate": {}, "tune": {}}},
}
BASE = ("seed", "teach", "tune", "evaluate")
LOOP = ("respond", "review", "split", "generate", "teach", "tune", "evaluate")


def run_stages(changes: Mapping[str, Any], *stages: str) -> dict[str, str]:
    """Write params.yaml and run stages such as `teach@1`; return their closing sentences.

    As in a real process, a stage may not change its outputs after it has noted them.
    """
    changed = override(NARROW, changes)
    Path("params.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))
    settings, sentences = read_settings(changed), {}
    for name in stages:
        stage, _, iteration = name.partition("@")
        stage_main = importlib.import_module(f"stages.{stage}").main
        output_marks.forget_outputs()
        sentences[name] = stage_main(Work(stage, iteration, settings))
        assert not output_marks.changed_outputs(), name
    return sentences


def narrow_folder(root: Path) -> None:
    """Make `root` a project's folder, without code and params."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("prompts", "scorers"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("inputs", "seeds"):
        (root / name).mkdir()
