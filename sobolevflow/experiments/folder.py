"""What an experiment leaves in its folder: pictures, tables, a manifest, and the cells they are made of."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import checks
from ..pictures import Pixels, encode, write_bytes
from ..results import as_text, plain, versions
from .cells import Store

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

    def picture(self, name: str, pixels: Pixels) -> Path:
        """Write ``name.png``."""
        return write_bytes(self.path / f"{name}.png", encode(pixels, ".png"))

    def table(self, name: str, rows: Sequence[Row]) -> Path:
        """Write ``name.csv``, with a column for every key that any row has."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return write_bytes(self.path / f"{name}.csv", text.getvalue().encode())

    def manifest(self, experiment: str, facts: Mapping[str, Any]) -> Path:
        """Write ``manifest.json``: the experiment, what it was given, and the versions of everything."""
        whole = plain({"experiment": experiment, **facts, "versions": versions()})
        return write_bytes(self.path / "manifest.json", as_text(whole).encode())
