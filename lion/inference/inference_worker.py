"""One of several inference processes, started by `accelerate launch --module` with a FOLDER.

It answers every nth missing batch of the job that `batch_inference` wrote to FOLDER. It ends
between two batches where the stage is gone, because a new run may have started on the same folder.
"""

import os
import sys
from pathlib import Path

from lion import console
from lion.errors import InterruptedRunError
from lion.inference import batch_inference
from lion.student import checkpoint


def main() -> None:
    """Answer this process's share of the batches."""
    checkpoint.load_libraries("accelerate")
    from accelerate import PartialState

    with console.error_boundary():
        state = PartialState()
        job, parent = batch_inference.read_job(Path(sys.argv[1]))

        def check_parent(_done: int, _total: int) -> None:
            if not _is_running(parent):
                raise InterruptedRunError("the stage that asked for these answers is gone")

        job.run(state.process_index, state.num_processes, check_parent)
        state.destroy_process_group()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
