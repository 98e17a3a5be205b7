"""The student: on disk, in training, answering, and behind a server."""
