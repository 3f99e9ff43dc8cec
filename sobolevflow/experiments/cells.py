"""Cells: results that are computed once, found again by what they depend on, and never half written."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import fingerprint
from ..files import arrays_in, make_folder, write_bytes

Key = Mapping[str, Any]
Arrays = dict[str, np.ndarray]

# What is computed, as opposed to how fast or by which code: raised when the same settings give other numbers,
# so that every cell is computed anew. It began as the version of the package, whose name it has in a key.
NUMERICS = "0.1.0"
_LAYOUT = 1  # raise it when a cell of the same key would hold something else
_KEY, _SUMS = "key", "sums"  # what is in a cell beside its arrays


class Store:
    """A folder of results, each addressed by the SHA-256 of a description of everything it depends on.

    A result is a file of its own that takes its name when it is complete, so that a process killed at any
    moment leaves either the whole result or none, and one that runs again computes what is missing and
    nothing else. Two processes may share a folder: at worst both compute the same cell.

    Parameters
    ----------
    folder : path
        Made if absent.

    Raises
    ------
    OutputError
        The folder cannot be made.

    Examples
    --------
    >>> store = Store("out/cells")  # doctest: +SKIP
    >>> store.get({"task": "invert", "seed": 0}, compute=lambda: {"u": invert_it()})  # doctest: +SKIP
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = make_folder(folder)
        self.computed = 0

    def get(self, key: Key, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of a cell: read where they are there, else computed and written.

        Parameters
        ----------
        key : mapping
            JSON-able. Everything that the result depends on, apart from `NUMERICS`, which is added.
        compute : callable
            Called without arguments where the cell is absent or cannot be read.

        Returns
        -------
        dict of ndarray

        Raises
        ------
        OutputError
            The folder cannot be written.
        """
        path = self.path(key)
        arrays = _read(path, _full(key))
        if arrays is None:
            arrays = compute()
            self.computed += 1
            path.parent.mkdir(exist_ok=True)
            write_bytes(path, _packed(_full(key), arrays))
        return arrays

    def __contains__(self, key: Key) -> bool:
        return _read(self.path(key), _full(key)) is not None

    def path(self, key: Key) -> Path:
        """Where the cell of `key` lies, or would lie."""
        digest = hashlib.sha256(_full(key).encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest[2:]}.npz"


def _full(key: Key) -> str:
    """The key in its one spelling, which is also written into the file for people."""
    return json.dumps({**key, "layout": _LAYOUT, "sobolevflow": NUMERICS}, sort_keys=True, allow_nan=False)


def _packed(key: str, arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    beside = {_KEY: np.array(key), _SUMS: np.array(_sums(arrays))}
    np.savez(buffer, allow_pickle=False, **beside, **arrays)
    return buffer.getvalue()


def _sums(arrays: Arrays) -> str:
    """By which arrays are found to be those that were written."""
    return json.dumps(
        {name: fingerprint(np.asarray(array)) for name, array in arrays.items()}, sort_keys=True
    )


def _read(path: Path, key: str) -> Arrays | None:
    """What is in the file; None where it is absent, another cell's, or damaged, as by a power cut."""
    try:
        found = arrays_in(path)
        if not isinstance(found, dict) or str(found.pop(_KEY, None)) != key:
            return None
        sums = found.pop(_SUMS, None)  # which cells of earlier versions lack
        return found if found and (sums is None or str(sums) == _sums(found)) else None
    except (OSError, ValueError):
        return None
