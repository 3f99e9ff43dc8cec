"""What an experiment leaves in its folder: pictures, tables, a manifest, and the cells they are made of."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import checks
from ..errors import OutputNameError
from ..files import write_bytes
from ..pictures import Pixels, encode
from ..results import as_text, environment, plain, versions
from ..text import printable, shortened
from .cells import Store

_MOST = 200  # bytes of the name of a file, which most systems bound by 255

Row = dict[str, Any]
"""Of a table, by the names of its columns."""


class Folder:
    """The output folder of one experiment; every file in it is replaced in one step.

    Parameters
    ----------
    path : path
        Made if absent.

    Raises
    ------
    OutputError
        It cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = checks.path(path, "folder")
        self.store = Store(self.path / "cells")

    def check_apart_from(self, photographs: Sequence[Path]) -> None:
        """OutputNameError where photographs lie in it: sheets would be taken for more of them."""
        if any(os.path.samefile(path.parent, self.path) for path in photographs):
            raise OutputNameError(f"{str(self.path)!r} holds the photographs; name another folder.")

    def picture(self, name: str, pixels: Pixels) -> Path:
        """Write ``name.png``, where the name may hold those of layers and classes."""
        return write_bytes(self.path / f"{_in_a_folder(name)}.png", encode(pixels, ".png"))

    def table(self, name: str, rows: Sequence[Row]) -> Path:
        """Write ``name.csv``, with a column for every key that any row has."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: printable(value) if isinstance(value, str) else value for key, value in row.items()}
            for row in rows
        )
        return write_bytes(self.path / f"{name}.csv", text.getvalue().encode())

    def manifest(self, experiment: str, facts: Mapping[str, Any]) -> Path:
        """Write ``manifest.json``: the experiment, what it was given, versions of everything, processor."""
        of_process = {"versions": versions(), "environment": environment()}
        whole = plain({"experiment": experiment, **facts, **of_process})
        return write_bytes(self.path / "manifest.json", as_text(whole).encode())


def _in_a_folder(name: str) -> str:
    """A name as that of a file: without what parts folders or some systems refuse, and not too long."""
    found = re.sub(r'[\\/:*?"<>|]', "_", printable(name))
    if len(found.encode()) <= _MOST:
        return found
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{shortened(found, _MOST - 20, lambda text: len(text.encode()))}-{digest}"
