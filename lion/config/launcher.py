"""Starts a module in several processes: `hardware.launcher` as `accelerate launch`.

No distributed code: accelerate starts each process with equal arguments. Decides nothing that is
learnt (the batches are the same however many processes share them).
"""

import subprocess
import sys
from pathlib import Path

from lion.config.settings import Launcher
from lion.errors import ModelError, SettingsError


def launch_command(launcher: Launcher, module: str, *arguments: str, cpu: bool) -> list[str]:
    """Return the words that start `module` in all processes.

    Raises SettingsError where `launcher.config` is not there.
    """
    options = [f"--num_processes={launcher.processes}", f"--num_machines={launcher.machines}"]
    if launcher.config is not None:
        if not Path(launcher.config).is_file():
            raise SettingsError(
                f"hardware.launcher.config: there is no file {launcher.config}. Name one of "
                "launchers/, or one that `accelerate config` wrote."
            )
        options.insert(0, f"--config_file={launcher.config}")
    if launcher.main_address is not None:
        host, _, port = launcher.main_address.rpartition(":")
        # by rendezvous the machines number themselves, so one command suits them all
        options += [f"--main_process_ip={host}", f"--main_process_port={port}"]
        options += ["--rdzv_backend=c10d"] if launcher.machines > 1 else []
    if cpu:
        options.append("--cpu")
    elif launcher.config is None and launcher.processes > 1:
        options.append("--multi_gpu")
    start = [*launcher.start, sys.executable, "-m", "accelerate.commands.launch"]
    return [*start, *options, "--module", module, *arguments]


def launch(launcher: Launcher, module: str, *arguments: str, cpu: bool) -> None:
    """Run `module` in all processes to its end. Raises ModelError where one of them fails."""
    words = launch_command(launcher, module, *arguments, cpu=cpu)
    code = subprocess.run(words, check=False).returncode  # noqa: S603  # our own words and params'
    if code:
        raise ModelError(
            f"the launched processes ended with exit code {code}; what they said stands above. "
            "States that they saved are kept: running again goes on from the last one."
        )
