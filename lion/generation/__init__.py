"""Generation: the base pool, new instructions and their filters, and the teacher's answers."""
