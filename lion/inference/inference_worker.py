"""One of several answering processes, started by `accelerate launch --module` with a FOLDER.

It takes every nth batch that is missing in FOLDER, which `answering` prepared, and keeps each when
it is done. It ends between two batches where whoever asked is gone: another may have begun anew.
"""

import os
import sys
from pathlib import Path

from lion import console
from lion.errors import InterruptedRunError
from lion.inference import batch_inference
from lion.student import checkpoint


def main() -> None:
    """Answer this process's share."""
    checkpoint.load_libraries("accelerate")
    from accelerate import PartialState

    with console.error_boundary():
        state = PartialState()
        sitting, parent = batch_inference.take_up(Path(sys.argv[1]))

        def look(_done: int, _total: int) -> None:
            if not _lives(parent):
                raise InterruptedRunError("the stage that asked for these answers is gone")

        sitting.work(state.process_index, state.num_processes, look)
        state.destroy_process_group()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
