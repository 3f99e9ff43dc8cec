"""What the commands say: notes and errors on the standard error, tables on the standard output."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .options import Argument

if TYPE_CHECKING:
    from rich.console import Console

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""The exit codes: success; a failure; a call to be corrected; a run ended by Ctrl-C, what there was saved."""

QUIET = Argument("--quiet", "no progress bar and no notes", flag=True)
JSON = Argument("--json", "print the outcome as JSON", flag=True)


def say(text: str, who: str = "sobolevflow") -> None:
    """A line beside the results; where nobody takes it, the work goes on."""
    with suppress(OSError):
        print(f"{who}: {text}", file=sys.stderr, flush=True)


def say_error(error: Exception) -> None:
    """An error in one line."""
    say(f"error: {in_one_line(error)}")


def in_one_line(error: Exception) -> str:
    """What an error says."""
    return " ".join(str(error).split())


def say_notes(notes: Iterable[str]) -> None:
    """What is worth knowing of a result."""
    for note in notes:
        say(f"note: {note}")


def console() -> Console:
    """Where a table is drawn first, so wide that no name is cut; see `show`."""
    from rich.console import Console

    return Console(file=io.StringIO(), width=10_000, highlight=False)


def show(drawn: Console) -> None:
    """Print what was drawn, at once: a reader that goes away, as `head` does, is then no error of rich's."""
    print(drawn.file.getvalue(), end="", flush=True)  # type: ignore[attr-defined]


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """A table of rows that all have the same keys."""
    from rich.table import Table

    table = Table(*(key.replace("_", " ") for key in rows[0]), box=None, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    drawn = console()
    drawn.print(table)
    show(drawn)


def readable(value: Any) -> str:
    """A value as a person writes it."""
    if isinstance(value, dict):
        return ", ".join(f"{k}={readable(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        join = " x " if all(isinstance(v, int) for v in value) else ", "
        return join.join(escaped(str(v)) for v in value)
    return escaped(str(value))


def escaped(text: str) -> str:
    """Square brackets in names are not markup."""
    from rich.markup import escape

    return escape(text)


def _cell(value: Any) -> str:
    if value is None:  # nothing to tell, as of the first call of a copy
        return ""
    return f"{value:.4g}" if isinstance(value, float) else readable(value)
