"""The student: its checkpoint, its chat format, its fingerprint, models on the hub."""
