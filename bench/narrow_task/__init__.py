"""The measurement of the narrow profile: figures of a finished run, and the table of docs/."""
