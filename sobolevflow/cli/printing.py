"""What the commands say: notes and errors on the standard error, tables on the standard output."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from ..errors import Told
from ..text import MOST, as_json, one_line, printable, shortened
from .options import Argument

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""The exit codes: success; a failure; a call to be corrected; a run ended by Ctrl-C, what there was saved."""

QUIET = Argument("--quiet", "no progress bar and no notes", flag=True)
JSON = Argument("--json", "print the outcome as JSON", flag=True)


def say(text: str, who: str = "sobolevflow") -> None:
    """A line beside the results; where nobody takes it, the work goes on."""
    with suppress(OSError):
        print(_as_it_fits(f"{who}: {text}", sys.stderr), file=sys.stderr, flush=True)


def say_error(error: Exception) -> None:
    """An error in one line, with what was added to it on its way."""
    say(f"error: {told(error)}")


def told(error: Exception | str) -> str:
    """All that an error or a warning says, however long."""
    full = error.full if isinstance(error, Told) else str(error)
    return " ".join([full, *getattr(error, "__notes__", ())])


def tell(text: str) -> None:
    """A line among the results."""
    print(_as_it_fits(text, sys.stdout), flush=True)


def _as_it_fits(text: str, stream: TextIO | None) -> str:
    """A line as long as a message may be, also where a stream knows but a few characters."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return one_line(one_line(text).encode(encoding, "backslashreplace").decode(encoding))


class _Notes:
    """What is worth knowing beside the results, each thing once."""

    def __init__(self) -> None:
        self._waiting: dict[str, None] | None = None

    def say(self, note: str) -> None:
        """Say it, at once or when all has ended well."""
        if self._waiting is None:
            say(f"note: {note}")
        else:
            self._waiting[note] = None

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """A context whose notes are said at its end; not if it raises, for that is one line."""
        outer, self._waiting = self._waiting, {}
        try:
            yield
            said = self._waiting
        except BaseException:
            said = {}
            raise
        finally:
            self._waiting = outer
        for note in said:
            self.say(note)


NOTES = _Notes()
"""The notes of the command that runs."""


def say_notes(notes: Iterable[str]) -> None:
    """What is worth knowing of a result."""
    for note in notes:
        NOTES.say(note)


def print_json(data: Any, indent: int | None = None) -> None:
    """The outcome for programs."""
    print(as_json(data, indent=indent))


def columns() -> int:
    """How long a line may be: as the terminal is wide, and of any length where there is none."""
    return shutil.get_terminal_size((1_000_000, 24)).columns


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table of texts that may be printed, with no cell cut or broken."""
    from rich.cells import cell_len

    table = [heads, *rows]
    widths = _widths(table)
    for row in table:
        padded = (cell + (width - cell_len(cell)) * " " for cell, width in zip(row, widths, strict=True))
        print(f" {'  '.join(padded)}".rstrip())


def table_width(table: Sequence[Sequence[str]]) -> int:
    """How wide it is printed, heads among the rows."""
    return sum(_widths(table)) + 2 * len(table[0]) - 1


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len

    return [max(map(cell_len, column)) for column in zip(*table, strict=True)]


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """A table of rows, with a column for every key that any of them has."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    heads = [readable(key.replace("_", " ")) for key in keys]
    print_table(heads, [[_cell(row[key]) if key in row else "" for key in keys] for row in rows])


def readable(value: Any, most: int = MOST) -> str:
    """A value as a person writes it, with no name longer than that."""
    if isinstance(value, dict):
        return ", ".join(f"{readable(k, most)}={readable(v, most)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        join = " x " if all(isinstance(v, int) for v in value) else ", "
        return join.join(readable(v, most) for v in map(str, value))
    return shortened(printable(str(value)), most)


def _cell(value: Any) -> str:
    if value is None:  # nothing to tell, as of the first call of a copy
        return ""
    return f"{value:.4g}" if isinstance(value, float) else readable(value)
