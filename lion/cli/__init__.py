"""The `lion` commands, in groups; `lion.cli` puts them together."""
