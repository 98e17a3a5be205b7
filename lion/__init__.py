"""Lion: adversarial distillation of an LLM behind an API into a small student of one's own.

Imports nothing heavy: a command that only prints a table must not pay for torch.
"""

__version__ = "0.1.0"
