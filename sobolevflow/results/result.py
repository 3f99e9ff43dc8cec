"""What a descent returns: the images, how they came about, and the files they can be written to."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from ..arrays import Array
from ..errors import InputError
from ..files import check_output, write_bytes
from ..pictures import (
    Levels,
    Pixels,
    arranged,
    check_bits,
    check_writable,
    checked_bits,
    to_levels,
    to_uint8,
    write_arranged,
    write_array,
)
from .comparison import Comparison, compared
from .history import History
from .manifest import Manifest, StoppedBy, as_text
from .saved import Saved
from .stopping import stopped_in_words

PAGES = (".html", ".htm")
"""How the name of a report ends."""


@dataclass(frozen=True, eq=False)
class Result:
    """The outcome of `visualize` or `invert`.

    Parameters
    ----------
    u : (N, C, H, W) float32 array
        The images, in [0, 1] unless the descent ran with ``clip=False``.
    value : (N,) float64 array or None
        The objective at `u` itself, without jitter, seen through the middle of the canvas; None where the
        descent ended in an error.
    history : History
        One record for each step.
    snapshots : dict
        From the number of completed steps to the images at that moment, (N, H, W, C) uint8.
    stopped_by : {"steps", "seconds", "patience", "interrupt", "callback", "error"}
        Whether all steps were taken, or what ended them early; of several octaves that were cut short, what
        did so last. `stopped` says it in words.
    notes : tuple of str
        What a reader of the result should know: an interruption, a start that had to be nudged.
    manifest : dict
        JSON-able: versions, model, objective, every parameter, outcome and timings.
    drawn : (N, H, W, C) uint8 array, optional
        What a generator draws for `u`, where that is its code.
    arrays : mapping of str to array
        What the manifest has the SHA-256 of alone: a photograph to be inverted, a start, a mask.
    """

    u: Array = field(repr=False)
    value: Array | None
    history: History
    snapshots: dict[int, Pixels] = field(repr=False)
    stopped_by: StoppedBy
    notes: tuple[str, ...]
    manifest: dict[str, Any] = field(repr=False)
    drawn: Pixels | None = field(default=None, repr=False)
    arrays: Mapping[str, Array] = field(default_factory=dict, repr=False)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the descent before its last step."""
        return self.stopped_by == "interrupt"

    @property
    def stopped(self) -> str:
        """How the descent ended, a sentence: "Stopped after 42 of 160 steps: 10 seconds had passed."."""
        return stopped_in_words(Manifest.from_dict(self.manifest))

    @cached_property
    def image(self) -> Pixels:
        """(N, H, W, C) uint8: `u`, clipped to [0, 1] and rounded to 256 levels, or what is drawn for it."""
        return as_pictures(self.u) if self.drawn is None else self.drawn

    def picture(self) -> Pixels:
        """The one picture that `save` writes, (H', W', 1 or 3) uint8.

        A single image is shown as it is, several side by side in a near-square grid. One channel is grey,
        three are RGB; with any other number the channels of an image are laid out as grey pictures.
        """
        return arranged(self.image)

    def save(
        self,
        path: str | os.PathLike[str],
        manifest: bool = True,
        *,
        bits: int = 8,
        array: str | os.PathLike[str] | None = None,
    ) -> Path:
        """Write the picture and, beside it, the manifest.

        Parameters
        ----------
        path : path
            The ending decides the format: .png, .jpg, .webp, .tif or .bmp. Existing files are replaced, in
            one step: at no time is there half a file. A link is written through, to its file.
        manifest : bool
            Also write ``crab.manifest.json`` beside ``crab.png``, and the `arrays`, where there are some, as
            ``crab.arrays.npz``: with both `sf.rerun` makes the run again.
        bits : {8, 16, 32}
            Of a value: 16 in .png and .tif; 32 in .tif, floating point as `u` has it, not clipped.
        array : path, optional
            Also write `u` there, a .npy file.

        Returns
        -------
        Path
            The picture's.

        Raises
        ------
        OutputError
            The ending is unknown, or the folder is absent or not writable.
        InputError
            The format does not hold so many bits, or there are not as many, as of what a generator draws.
        """
        path = check_writable(checks.path(path, "path"))
        manifest = checks.flag(manifest, "manifest")
        array = None if array is None else checks.path(array, "array")
        bits, packed = check_bits(path, bits), path.with_suffix(".arrays.npz")
        beside = [manifest_path(path), *([packed] if self.arrays else [])] if manifest else []
        for more in (*beside, *([] if array is None else [array])):
            check_output(more)
        write_arranged(path, self.levels(bits))
        written: dict[str, Any] = {"picture": path.name, "bits": bits}
        if array is not None:
            written["array"] = os.path.relpath(write_array(array, self.u), path.parent)
        if manifest:
            if self.arrays:
                written["arrays"] = write_bytes(packed, _packed(self.arrays)).name
            content = as_text({**self.manifest, "written": written})
            write_bytes(manifest_path(path), content.encode())
        return path

    def levels(self, bits: int = 8) -> Levels:
        """The pictures as `save` writes them, (N, H, W, C), of 8, 16 or 32 bits a value."""
        bits = checked_bits(bits)
        if bits == 8:
            return self.image
        if self.drawn is not None:
            raise InputError(f"what a generator draws has 8 bits, not {bits}; result.u is its code")
        levels, _ = to_levels(self.u, bits)
        return levels.transpose(0, 2, 3, 1)

    def compare(self, manifest: str | os.PathLike[str] | Mapping[str, Any]) -> Comparison:
        """Whether a saved run ended in the same images, byte for byte, and else how far apart they are.

        Parameters
        ----------
        manifest : path or mapping
            Of the saved run; files are compared where it is one of those beside them.

        Raises
        ------
        InputFileError
            It cannot be read, or is none.
        """
        return compared(np.asarray(self.u), self.levels, Saved.read(manifest))

    def asked_by(self, command: Sequence[str], files: Iterable[str | os.PathLike[str]] = ()) -> Result:
        """The same, with a command line in its manifest, and the files that are named there.

        Parameters
        ----------
        command : sequence of str
            Its words.
        files : iterable of path
            Each is written down with its SHA-256.
        """
        prints = {os.fsdecode(path): _sha256(Path(path)) for path in files}
        return replace(self, manifest={**self.manifest, "asked": {"command": list(command), "files": prints}})

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write a self-contained HTML page: pictures, curves, parameters and manifest.

        Raises
        ------
        OutputError
            The path does not end in .html, or the folder is absent or not writable.
        """
        from .page import html_page

        path = check_output(checks.path(path, "path"), PAGES)
        manifest = Manifest.from_dict(self.manifest)
        page = html_page(self.image, self.history, self.snapshots, self.notes, manifest)
        return write_bytes(path, page.encode())

    def manifest_json(self) -> str:
        """The manifest as text."""
        return as_text(self.manifest)

    def _repr_html_(self) -> str:
        from .page import notebook_view

        return notebook_view(self.picture(), Manifest.from_dict(self.manifest))


def manifest_path(picture: Path) -> Path:
    """Where the manifest of a picture lies."""
    return picture.with_suffix(".manifest.json")


def _packed(arrays: Mapping[str, Array]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_pictures(u: Array) -> Pixels:
    """(N, C, H, W) in [0, 1] to (N, H, W, C) uint8."""
    return np.ascontiguousarray(to_uint8(u).transpose(0, 2, 3, 1))
