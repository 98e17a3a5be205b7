"""What people see of a run: tables, pages, diffs, traces, plans. Reads, never judges."""
