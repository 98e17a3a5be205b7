"""Lion: adversarial distillation of an LLM behind an API into a small student of one's own.

Imports nothing heavy: a command that only prints a table must not pay for torch.
"""

import os

__version__ = "0.1.0"

# read by torch's threads when they start: waiting ones must not spin on a core that others need
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
