"""What pools hold: where instructions come from, which are new, clean and fit for use."""
