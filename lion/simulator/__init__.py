"""The laboratory that needs no account: an oracle teacher and a tiny student's recipe."""
