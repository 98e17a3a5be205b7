"""Tries sizes and rates of the loop on the tuning seeds, in one process, as bench/proof.py runs it.

    python bench/trial.py --seeds 901 902 --arms likelihood one-way \
        --pool 6000 --base-steps 1200 --steps 500 --later-rate 0.4 --set tune.replay=2

Needs no extra; set OMP_NUM_THREADS=1. For settings of profiles and of the next registration: the
seeds that are reported are refused. An arm is one JSON line: macro accuracy of the base and after
each iteration, calls by role, and the processor's seconds (with the base's in a seed's first arm).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))


def main() -> None:
    """Run each arm of each seed."""
    options = arguments()
    import torch

    torch.set_num_threads(1)
    from proving import loop, registered
    from proving.arms import Sizes

    sizes = Sizes(
        options.pool,
        options.base_steps,
        options.hard,
        options.easy,
        options.steps,
        options.judged,
        options.later_rate,
    )
    loop.REGIMES["trial"] = sizes
    loop.SETTINGS = changed(registered.SETTINGS, options.set)
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            place = loop.Place("trial", options.skew, seed, Path(folder))
            finished: dict[str, Any] = {}
            for name in options.arms:
                began = time.process_time()
                arm = replace(registered.ARMS[name], measured=False, iterations=options.iterations)
                finished[name] = loop.prove(arm, place, finished.__getitem__)
                print(json.dumps(shown(finished[name], time.process_time() - began)), flush=True)


def changed(settings: Mapping[str, Mapping[str, Any]], lines: list[str]) -> dict[str, Any]:
    """Return the registered settings with those of `lines`, as `tune.replay=2`."""
    trial: dict[str, Any] = {section: {**values} for section, values in settings.items()}
    for line in lines:
        name, value = line.split("=", 1)
        section, key = name.split(".", 1)
        trial[section][key] = yaml.safe_load(value)
    return trial


def shown(row: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return what a trial says of an arm."""
    points = row["iterations"]
    return {
        "seed": row["seed"],
        "arm": row["arm"],
        "base": row["base"]["accuracy"],
        "accuracy": [point["accuracy"] for point in points],
        "calls": points[-1]["calls"],
        "cpu_seconds": round(seconds),
    }


def arguments() -> argparse.Namespace:
    """Read the command line."""
    from proving.frozen import TUNING_SEEDS
    from proving.registered import ARMS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, choices=TUNING_SEEDS, required=True)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["likelihood"])
    parser.add_argument("--skew", type=float, default=1.3)
    parser.add_argument("--pool", type=int, default=4_000)
    parser.add_argument("--base-steps", type=int, default=220)
    parser.add_argument("--hard", type=int, default=1_400)
    parser.add_argument("--easy", type=int, default=700)
    parser.add_argument("--steps", type=int, default=220)
    parser.add_argument("--judged", type=int, default=1_000)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--later-rate", type=float, default=1.0)
    parser.add_argument("--set", nargs="+", default=[], metavar="SECTION.KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
