"""A run as it was saved: its manifest, and the files that lie beside it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from ..arrays import Array, fingerprint
from ..errors import InputError, InputFileError
from .manifest import FORMAT, Manifest

_LARGEST = 2**26  # bytes: more than any manifest has
_FILES = ("picture", "array", "arrays")  # what is written with a manifest, as it names them
_HEADER = 2**12  # bytes that a file of NumPy's has beside the values, at most


@dataclass(frozen=True)
class Saved:
    """A run as it was saved.

    Parameters
    ----------
    name : str
        What messages call it.
    manifest : Manifest
    path : Path or None
        That of the manifest; None of one that is in no file.
    """

    name: str
    manifest: Manifest
    path: Path | None = None

    @property
    def folder(self) -> Path | None:
        """Where the manifest lies."""
        return None if self.path is None else self.path.parent

    @classmethod
    def read(cls, source: str | os.PathLike[str] | Mapping[str, Any]) -> Saved:
        """The run of a manifest, which is a file or what one holds.

        Raises
        ------
        InputFileError
            It cannot be read, or is no manifest of a run.
        """
        if isinstance(source, Mapping):
            return cls("the manifest", _checked(source, "the manifest"))
        path = checks.path(source, "manifest")
        name = f"manifest {path}"
        return cls(name, _checked(_data(path, name), name), path)

    def file(self, which: str) -> Path | None:
        """Where a file lies that was written with the manifest: "picture", "array" or "arrays"."""
        name = (self.manifest.written or {}).get(which)
        return None if name is None or self.folder is None else self.folder / str(name)

    @property
    def bits(self) -> int:
        """Of a value of the picture."""
        bits = (self.manifest.written or {}).get("bits", 8)
        return int(bits) if checks.is_integer(bits) else 8

    def array(self, what: str, wanted: Mapping[str, Any]) -> Array:
        """An array that the manifest has the fingerprint of, from the file beside it.

        Raises
        ------
        InputFileError
            It is not there, or another one.
        """
        path = self.file("arrays")
        if path is None or not os.path.isfile(path):
            where = (
                "result.save(path) writes it beside the manifest; give the path of that"
                if path is None
                else f"{path} is not there"
            )
            raise InputFileError(f"{self.name}: the array that is {what} is missing: {where}")
        found = _array(path, str(wanted["sha256"]), wanted)  # arrays of the same bytes may share one
        if found is None or fingerprint(found) != dict(wanted):
            raise InputFileError(
                f"{path}: the array that is {what} is not in it as it was; save the run anew"
            )
        return found

    def check_kept(self, written: Iterable[Path], overwrite: bool) -> None:
        """InputError where what is to be written is the run's own, unless that was asked for."""
        kept = (self.path, *map(self.file, _FILES))
        own = {path.resolve() for path in kept if path is not None}
        for path in () if overwrite else written:
            if path.resolve() in own:
                raise InputError(f"{str(path)!r} is of the run itself; write elsewhere, or say --overwrite")

    def opened_files(self) -> list[str]:
        """The files of the network, as far as the manifest names them."""
        source = self.manifest.source or {}
        places = (source.get(key) for key in ("path", "generator", "labels"))
        return [str(place["full"]) for place in places if isinstance(place, Mapping) and "full" in place]


def _data(path: Path, name: str) -> Any:
    """What a file holds as JSON."""
    if not os.path.isfile(path):
        raise InputFileError(f"{name}: is not there, or is no file")
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise InputFileError(f"{name}: is larger than {_LARGEST >> 20} MiB; is it another file?")
        return json.loads(content)
    except OSError as error:
        raise InputFileError(f"{name}: cannot be read ({error.strerror})") from None
    except RecursionError:
        raise InputFileError(f"{name}: nested too deeply for a manifest") from None
    except ValueError as error:
        raise InputFileError(f"{name}: not JSON ({error})") from None


def _checked(data: Any, name: str) -> Manifest:
    if not isinstance(data, Mapping):
        raise InputFileError(f"{name}: holds no mapping, and is no manifest")
    if "experiment" in data:
        raise InputFileError(
            f"{name}: is that of an experiment, which is made again by 'sobolevflow experiment'; a run's "
            "lies beside its picture"
        )
    number = data.get("format", 1)
    if not isinstance(number, int) or not 1 <= number <= FORMAT:
        raise InputFileError(
            f"{name}: is of format {checks.shown(number)}, and this version reads those up to {FORMAT}; "
            "update it"
        )
    try:
        manifest = Manifest.from_dict(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # it may hold anything
        raise InputFileError(f"{name}: is no manifest of a run ({error})") from None
    for part in ("versions", "model", "objective", "parameters"):
        if not isinstance(getattr(manifest, part), Mapping):
            raise InputFileError(f"{name}: is no manifest of a run ({part} is no mapping)")
    for part in ("source", "environment", "asked", "written"):
        if not isinstance(getattr(manifest, part), Mapping | None):
            raise InputFileError(f"{name}: is no manifest of a run ({part} is no mapping)")
    for which in _FILES:
        if (file := (manifest.written or {}).get(which)) is not None:
            checks.path(file, f"the {which} in {name}")
    return manifest


def _array(path: Path, key: str, wanted: Mapping[str, Any]) -> Array | None:
    """An array of a file of several; None where it is not in it, or larger than it should be."""
    try:
        with zipfile.ZipFile(path) as file:
            info = file.getinfo(f"{key}.npy")
            size = int(np.prod(wanted["shape"])) * np.dtype(wanted["dtype"]).itemsize
            if info.file_size > size + _HEADER:
                return None
            with file.open(info) as member:
                values = np.lib.format.read_array(member, allow_pickle=False)
            return np.asarray(values).reshape(wanted["shape"])
    except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        return None
