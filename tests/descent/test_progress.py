from __future__ import annotations

import io
import sys

import pytest

from sobolevflow.descent.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run_bar(shown: bool) -> None:
    with progress_bar("king crab", 3, shown) as advance:
        for value in (1.0, 2.0, 12.5):
            advance(value)


def test_terminal_sees_label_steps_and_value(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
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
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bar("king crab", 3) as first, progress_bar("red fox", 3) as second:
        second(1.0)
        first(2.0)
    assert "king crab" in terminal.getvalue()
    assert "red fox" not in terminal.getvalue()
    run_bar(shown=True)
    assert terminal.getvalue().count("3/3") >= 1
