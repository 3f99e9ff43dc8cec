"""TIFF files: any type of number, any number of planes, stacks of pages."""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from . import by_pillow
from .ranges import Range
from .raster import Raster, which_page

_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_ALPHA = {1: True, 2: False}  # samples beside the colours that are alpha, and whether it was multiplied in
_COLOURS = {"RGB": 3, "MINISBLACK": 1, "MINISWHITE": 1, "PALETTE": 1}


# What tifffile says of damaged files goes to those who listen to its logger, and nowhere else.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def is_tiff(path: Path) -> bool:
    """Whether a file begins as TIFF and BigTIFF files do."""
    with path.open("rb") as file:
        return file.read(4) in _SIGNATURES


def read(path: Path, page: int | None, name: str) -> Raster:
    """A page, one plane or several in (H, W, C), of a TIFF file; errors are those of tifffile and Pillow."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        # without masks; thumbnails are left out by tifffile
        series = [each for each in file.series if not each.keyframe.subfiletype & 4]
        counts = [_pages_in(each) for each in series]
        if not sum(counts):
            raise ImageError(f"{name} holds no picture: it has no page, or pages without pixels.")
        index = which_page(page, sum(counts), name)
        while index >= counts[0]:
            index -= counts.pop(0)
            series.pop(0)
        return _Page(series[0], index, counts[0], path, name).read()


def _pages_in(series: Any) -> int:
    if 0 in series.shape:
        return 0
    return math.prod(n for n, axis in zip(series.shape, series.axes, strict=True) if axis not in "YXS")


class _Page:
    """One page of a series of pages of one kind."""

    def __init__(self, series: Any, index: int, count: int, path: Path, name: str) -> None:
        self.series, self.index, self.path, self.name = series, index, path, name
        self.facts = series.keyframe
        # None where several pages are stored as one
        self.page: Any = series.pages[index] if len(series.pages) == count else None
        place = getattr(self.page, "index", None)
        self.frame = place if isinstance(place, int) else None
        self.photometric = getattr(self.facts.photometric, "name", str(self.facts.photometric))

    def read(self) -> Raster:
        from PIL import Image, UnidentifiedImageError

        pixels = math.prod(self.facts.shape) // self.facts.samplesperpixel
        if pixels > 2 * (Image.MAX_IMAGE_PIXELS or math.inf):
            raise Image.DecompressionBombError(f"a page of it has {pixels} pixels")
        segments, there = math.prod(self.facts.chunked), len(self.facts.dataoffsets)
        if there < segments:  # for which tifffile would put zeros
            raise ImageError(f"{self.name} is damaged: of {segments} strips or tiles it has {there}.")
        if self.frame is not None and self._is_ordinary():
            with (
                suppress(UnidentifiedImageError),  # a combination that this version of it lacks
                by_pillow.opened(self.path, self.frame) as picture,
            ):
                return by_pillow.decoded(picture, self.path, self.name)
        if self.photometric not in _COLOURS:
            raise ImageError(
                f"{self.name} has the colours {self.photometric} in {self.facts.dtype}, which are not read; "
                "save it as RGB."
            )
        try:
            planes = self._planes()
        except Exception as error:  # tifffile says by many classes that a codec is not there
            if not (isinstance(error, ImportError) or "imagecodecs" in str(error)):
                raise
            return self._without_codec()
        return self._raster(planes).turned(self._tag("Orientation") or 1)

    def _is_ordinary(self) -> bool:
        """Whether Pillow reads it as it is: 8 bits, and no plane that it would drop."""
        extra, file = self.facts.extrasamples, self.facts.parent
        if file.is_bigtiff and file.byteorder == ">":
            return False
        if self.photometric == "SEPARATED":
            return not extra
        return self.facts.dtype in ("u1", "?") and (
            self.photometric in ("YCBCR", "CIELAB")
            or (
                self.photometric in _COLOURS
                and self.facts.samplesperpixel - len(extra) in (1, 3, 4)
                and (not extra or (len(extra) == 1 and int(extra[0]) in _ALPHA))
            )
        )

    def _planes(self) -> NDArray[Any]:
        """(H, W, C) in the numbers of the file."""
        if self.page is not None:
            array, axes = self.page.asarray(), self.facts.axes
        else:
            array, axes = self.series.asarray(), self.series.axes
        rest = [k for k, axis in enumerate(axes) if axis not in "YXS"]
        order = [*rest, *(axes.index(axis) for axis in "YXS" if axis in axes)]
        pages = array.transpose(order)
        pages = pages.reshape(-1, *pages.shape[len(rest) :])
        plane: NDArray[Any] = pages[self.index if self.page is None else 0]
        return plane if "S" in axes else plane[..., None]

    def _raster(self, planes: NDArray[Any]) -> Raster:
        if self.photometric == "PALETTE":
            return Raster(np.moveaxis(np.asarray(self.facts.colormap)[:, planes[..., 0]], 0, -1))
        stated = self._stated(planes.dtype)
        extra = [int(kind) for kind in self.facts.extrasamples]
        if self.photometric == "RGB" and planes.shape[-1] == 4 and not extra:
            extra = [2]
        alpha, premultiplied = None, False
        unknown = [kind for kind in extra if kind not in _ALPHA]
        if len(unknown) < len(extra):
            kind = next(kind for kind in extra if kind in _ALPHA)
            at = planes.shape[-1] - len(extra) + extra.index(kind)
            planes, alpha, premultiplied = np.delete(planes, at, axis=-1), planes[..., at], _ALPHA[kind]
        return Raster(
            planes,
            alpha,
            stated,
            inverted=self.photometric == "MINISWHITE",
            profile=self.facts.iccprofile,
            extra=len(unknown) if self.photometric == "RGB" else 0,
            premultiplied=premultiplied,
        )

    def _stated(self, dtype: np.dtype[Any]) -> Range | None:
        """The range that the file states by its smallest and largest sample, or by its bits a sample."""
        low, high = self._tag("SMinSampleValue"), self._tag("SMaxSampleValue")
        if low is not None and high is not None and np.min(low) < np.max(high):
            return float(np.min(low)), float(np.max(high))
        bits = self.facts.bitspersample
        if dtype.kind == "u" and dtype.itemsize <= 2:
            return 0, 2 ** int(np.max(bits)) - 1
        return None

    def _tag(self, name: str) -> Any:
        return self.facts.tags.valueof(name)

    def _without_codec(self) -> Raster:
        """What Pillow makes of a compression that tifffile cannot read alone."""
        from PIL import UnidentifiedImageError

        whole = None
        swapped = self.facts.parent.byteorder == ">" and self.facts.dtype != np.uint16  # Pillow mixes them up
        if self.frame is not None and not swapped:
            with suppress(UnidentifiedImageError, ValueError):
                whole = by_pillow.whole_frame(self.path, self.frame, self.facts.dtype)
        if whole is None:
            how = getattr(self.facts.compression, "name", self.facts.compression)
            raise ImageError(
                f"{self.name} is compressed by {how}, for which the package imagecodecs is needed: "
                "python -m pip install imagecodecs"
            )
        return replace(
            whole,
            stated=self._stated(whole.values.dtype),
            inverted=self.photometric == "MINISWHITE",
            profile=self.facts.iccprofile,
        )
