"""The frame of a stage, checks before a run, the plan, and access to revisions."""
