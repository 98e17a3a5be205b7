"""Lines of progress with a terminal and without: rates and times as a person says them."""

import re
from io import StringIO

import pytest
from rich.console import Console

from lion import console
from lion.errors import LionError


@pytest.mark.parametrize(
    ("rate", "text"),
    [(1234.5, "1,234/s"), (1.0, "1/s"), (0.2, "12 a minute"), (0.001, "4 an hour")],
)
def test_a_rate_below_one_a_second_is_told_by_the_minute(rate: float, text: str) -> None:
    assert console.rate_text(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (41, "41 s"), (2487, "41 min"), (3900, "1 h 05 min"), (3590, "1 h 00 min")],
)
def test_a_time_is_told_in_minutes_and_hours(seconds: float, text: str) -> None:
    assert console.duration_text(seconds) == text


def test_a_line_has_rate_time_and_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 101.0, 102.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.progress("tune@1") as update:
        update(10, 400, "none")  # done by an earlier run: says nothing of the rate
        update(30, 400, "190 answer tokens/s, loss 1.234")
        update(31, 400, "too early for another line")
    assert capsys.readouterr().err == (
        "tune@1: 30 of 400, 12 a minute, 31 min left, 190 answer tokens/s, loss 1.234\n"
    )


def test_a_bar_labels_its_times_and_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = StringIO()
    terminal = Console(file=shown, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(console, "stderr", terminal)
    clock = iter(range(0, 100_000, 40))  # seconds: a step takes longer than rich's window of 30
    monkeypatch.setattr(terminal, "get_time", lambda: float(next(clock)))
    with console.progress("tune@1") as update:
        for done in range(1, 5):
            update(done, 40, "190 answer tokens/s, loss 1.234")
    lines = shown.getvalue().split("\r")
    assert re.search(r"4/40 \d a minute \d+ min left 190 answer tokens/s, loss 1.234", lines[2]), (
        lines
    )


_SENTENCE = "error words of a sentence that is longer than a terminal " * 4


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_sentence_wraps_between_words_on_a_terminal_alone(
    width: int, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file or a pipe has one line, which a script can look for."""
    screen = Console(file=StringIO(), force_terminal=terminal, width=width, color_system=None)
    monkeypatch.setattr(console, "stderr", screen)
    console.say(_SENTENCE)
    with pytest.raises(SystemExit), console.error_boundary():
        raise LionError(_SENTENCE)
    lines = screen.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [word for line in lines for word in line.split()] == [
        *_SENTENCE.split(),
        "error:",
        *_SENTENCE.split(),
    ]
    assert (len(lines) == 2) == (not terminal)
    assert not terminal or max(map(len, lines)) <= width
