from __future__ import annotations

import errno
import io
import sys

import pytest

from sobolevflow.descent import progress
from sobolevflow.descent.progress import progress_bar
from sobolevflow.kernels.announcing import announce


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """The standard error from now on, of 120 columns; a fixture's would be put back before the test."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return terminal


def run_bar(shown: bool) -> None:
    with progress_bar("king crab", 3, shown) as advance:
        for value in (1.0, 2.0, 12.5):
            advance(value)


def test_terminal_sees_label_steps_and_value(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    run_bar(shown=True)
    written = terminal.getvalue()
    assert "king crab" in written
    assert "3/3" in written
    assert "value 12.5" in written


@pytest.mark.parametrize(("stream", "shown"), [(io.StringIO(), True), (Terminal(), False)])
def test_nobody_watches(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, shown: bool) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    run_bar(shown)
    assert stream.getvalue() == ""


def test_of_two_descents_one_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with progress_bar("king crab", 3) as first, progress_bar("red fox", 3) as second:
        second(1.0)
        first(2.0)
    assert "king crab" in terminal.getvalue()
    assert "red fox" not in terminal.getvalue()
    run_bar(shown=True)
    assert terminal.getvalue().count("3/3") >= 1


def test_no_value_is_shown_before_the_first_and_compiling_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with progress_bar("king crab", 3):
        announce()
    assert "0/3" in terminal.getvalue()
    assert "nan" not in terminal.getvalue()
    assert "compiling kernels (once)" in terminal.getvalue()


def test_a_file_has_a_line_where_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(progress, "_LONG", 0.0)
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    with progress_bar("king crab", 3) as advance:
        announce()
        announce()
        advance(12.5)
    assert file.getvalue() == "king crab: compiling kernels (once)\nking crab: 1/3, value 12.5\n"


def test_a_file_has_no_line_where_it_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    with progress_bar("king crab", 3) as advance:
        announce()
        announce()
        advance(12.5)
    assert file.getvalue() == ""


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_line_that_nobody_takes_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(progress, "_LONG", 0.0)
    monkeypatch.setattr(sys, "stderr", Full())
    with progress_bar("king crab", 3) as advance:
        announce()
        advance(12.5)


def test_numba_announces_what_it_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba import njit

    from sobolevflow.kernels import compiling

    assert compiling.kernel is not None  # which listens to Numba
    monkeypatch.setattr(progress, "_LONG", 0.0)
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    with progress_bar("king crab", 3):
        assert njit(lambda x: x + 1)(1) == 2
    assert "compiling kernels (once)" in file.getvalue()
