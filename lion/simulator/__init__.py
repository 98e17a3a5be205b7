"""The simulator: an embedded LLM without network or weights, and a tiny student to train."""
