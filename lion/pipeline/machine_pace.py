"""The pace of this machine's matrix products in a dtype, as torch runs them, and its memory.

Measured in a process of its own, because importing torch takes seconds. A measurement stands for a
list of processor flags: where a processor emulates bfloat16, its products are slow.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

_LOOK = """
import json, sys, time, torch
threads = int(sys.argv[1]) or torch.get_num_threads()
torch.set_num_threads(1)  # of which the processor's time is that of the work alone
gpu = torch.accelerator.current_accelerator()
device, size = ("cpu", 512) if gpu is None else (gpu, 8192)
clock = time.process_time if gpu is None else time.perf_counter
def pace(dtype):
    matrix = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(12):  # the first warms up, and others may use the processor
        start = clock()
        product = matrix @ matrix
        if gpu is not None:
            torch.accelerator.synchronize()
        best = min(best, clock() - start)
    return 2 * size**3 / best * (threads if gpu is None else 1)
paces = {name: pace(getattr(torch, name)) for name in ("float32", "bfloat16")}
memory = None if gpu is None else torch.accelerator.get_memory_info()[0]
print(json.dumps([None if gpu is None else gpu.type, paces, memory]))
"""
_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class MachinePace:
    """`flops` of square matrix products by dtype, a second; `accelerator` is None on a CPU.

    `memory_bytes` are those free on the device.
    """

    accelerator: str | None
    flops: Mapping[str, float]
    memory_bytes: int

    def of(self, dtype: str) -> float:
        """Return the FLOP/s in `dtype`; float16 is as fast as bfloat16 where it trains."""
        return self.flops["bfloat16" if dtype == "float16" else dtype]


def measure(threads: int | None) -> MachinePace | None:
    """Measure the pace of so many CPU threads (None: torch's default), if nothing else ran.

    None where torch does not start.
    """
    command = [sys.executable, "-c", _LOOK, str(threads or 0)]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, check=True, timeout=_SECONDS
        )
    except (subprocess.SubprocessError, OSError):
        return None
    accelerator, flops, memory = json.loads(done.stdout)
    return MachinePace(accelerator, flops, memory or psutil.virtual_memory().available)
