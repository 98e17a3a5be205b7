"""What the environment must not say. conftest.py imports this before anything of lion.

rich takes the size of the terminal from here for good when lion.console is imported, and
pytest-xdist sets one for its workers.
"""

import os

for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)
