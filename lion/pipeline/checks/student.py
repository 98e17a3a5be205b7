"""What would stop a run in the student: its checkpoint, and what its tuning needs."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lion.config.settings import Settings
from lion.errors import ModelError
from lion.pipeline.checks import checkpoint


def student_problems(settings: Settings, *, ask_hub: bool) -> Iterator[str]:
    """Look at the base model's files; of one on the hub at its listing, with `ask_hub`."""
    try:
        yield from checkpoint.checkpoint_problems(settings.student, ask_hub=ask_hub)
    except ModelError as error:
        yield str(error)


def tune_problems(settings: Settings) -> Iterator[str]:
    """Look for the libraries, the device and the launcher's file that tuning needs."""
    methods = {settings.tune_at(name).method for name in ("0", *settings.iterations)}
    if methods - {"full"} and importlib.util.find_spec("peft") is None:
        yield (
            "tune.method: lora and qlora need the library peft. In Lion's folder, run "
            "`pip install -e '.[lora]'`."
        )
    if "qlora" in methods and importlib.util.find_spec("bitsandbytes") is None:
        yield (
            "tune.method: qlora needs the library bitsandbytes. In Lion's folder, run "
            "`pip install -e '.[qlora]'`."
        )
    if settings.student.dtype == "float16" and not _has_accelerator():
        yield "student.dtype: float16 trains on a GPU only; set float32 or bfloat16"
    config = settings.hardware.launcher.config
    if config is not None and not Path(config).is_file():
        yield f"hardware.launcher.config: there is no file {config}. Name one of launchers/."


def _has_accelerator() -> bool:
    """Ask torch in a process of its own: its import takes seconds, here only for float16."""
    look = "import sys, torch; sys.exit(not torch.accelerator.is_available())"
    return subprocess.run([sys.executable, "-c", look], check=False).returncode == 0  # noqa: S603 - our own words
