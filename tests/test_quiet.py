"""No warning of a library is on the screen of a user; in this process each is an error."""

from running import Finished


def test_no_stage_prints_a_warning_of_a_library(finished: Finished) -> None:
    """Each stage is a process of its own, and DVC passes on what it prints."""
    assert {"base-tune", "respond@1", "tune@1", "evaluate@1"} <= set(finished.run.stages)
    assert "Warning" not in finished.run.output
