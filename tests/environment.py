"""What the environment must not say. conftest.py imports this before anything of lion.

rich takes the size of the terminal from here for good when lion.console is imported, and
pytest-xdist sets one for its workers. Without kept bytecode, every process that a test starts
compiles lion anew, and every worker rewrites the assertions of all files (the Makefile clears the
variable too). Imports make few cycles, and to look for them takes seconds: the collector is off
until the tests are collected (running.py). A shell that starts the tests in the background has them
ignore Ctrl-C, and nohup a hangup, and with them every process that a test interrupts.
"""

import gc
import os
import signal
import sys

for _name in ("COLUMNS", "LINES", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(_name, None)
sys.dont_write_bytecode = False
gc.disable()
_INHERITED = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGTERM: signal.SIG_DFL,
}
for _number, _usual in _INHERITED.items():
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)
