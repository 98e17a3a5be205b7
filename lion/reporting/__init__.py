"""What people see of a run: tables, the report page, diffs, traces. Decides no output."""
