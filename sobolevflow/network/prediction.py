"""What a network says of photographs: its best classes, and how probable it takes them to be."""

from __future__ import annotations

import html
import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import checks
from ..arrays import borrow_numbers, library, to_host
from ..errors import InputError, as_option
from ..pictures import fitted, read_image
from ..text import printable, shortened
from .presets import Tried, tried
from .protocol import NetworkLike
from .running import scores_of

_LONGEST = 60  # characters of a name in a table
_CLOSE = 0.75  # of the support of the likeliest, from which on another may as well be right
_SHOWN = 3  # photographs of which it is shown what each pre-processing makes of them


@dataclass(frozen=True)
class Prediction:
    """What a network says of photographs; printed, it is a table.

    Attributes
    ----------
    network : str
        Its name.
    photos : tuple of str
        The paths of the photographs; ``image 0`` and so on of arrays.
    classes : tuple of tuple of int
        Of each photograph the best classes, best first, counted as `Class` takes them.
    names : tuple of tuple of str
        What they are called.
    probabilities : tuple of tuple of float
        Of all classes they sum to one, with that of a background class; where the network ends in a sigmoid,
        each is by itself.
    background : tuple of float or None
        The probability of a background class, of each photograph; None where there is none.
    tried : tuple of Tried
        Where no pre-processing is known, what the network says under each that is usual, likeliest first;
        else empty.
    """

    network: str
    photos: tuple[str, ...]
    classes: tuple[tuple[int, ...], ...]
    names: tuple[tuple[str, ...], ...]
    probabilities: tuple[tuple[float, ...], ...]
    background: tuple[float, ...] | None = None
    tried: tuple[Tried, ...] = ()

    @property
    def proposed(self) -> str | None:
        """The likeliest pre-processing, as ``preprocess=`` and ``--preprocess`` take it, if none is known."""
        return self.tried[0].preprocess if self.tried else None

    @property
    def advice(self) -> str | None:
        """A sentence that says which pre-processing to give; None where it is known."""
        if self.proposed is None:
            return None
        best, *others = self.tried
        close = [each.preprocess for each in others if each.support > _CLOSE * best.support]
        hardly = f", hardly more than {close[0]}; show it more photographs of what it knows" if close else ""
        return (
            "no pre-processing is known, so that the network gets the image in [0, 1] as it is; of those "
            f"that are usual, {self.proposed} is likeliest: preprocess={self.proposed!r} "
            f"({as_option('preprocess', self.proposed)}){hardly}"
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        return {**asdict(self), "proposed": self.proposed}

    def rows(self, k: int) -> list[tuple[str, str]]:
        """Of a photograph, for a table: how probable each class is, and which; a background class last."""
        rows = [
            (percent(p), f"{name} ({c})" if name != str(c) else name)
            for c, name, p in zip(self.classes[k], self.names[k], self.probabilities[k], strict=True)
        ]
        return rows + ([] if self.background is None else [(percent(self.background[k]), "background")])

    def __str__(self) -> str:
        lines = []
        for k, photo in enumerate(self.photos):
            lines += [printable(photo), *(f"  {p}  {in_a_table(name)}" for p, name in self.rows(k))]
        if self.advice is not None:
            lines += [self.advice, *("  " + "  ".join(row) for row in self.tried_rows())]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def tried_rows(self) -> list[tuple[str, str, str]]:
        """For a table: each pre-processing that was tried, its support, what photographs are taken for."""
        return [
            (f"{each.preprocess:<14}", f"{each.support:.2f}", in_a_table(_first_of(each)))
            for each in self.tried
        ]


def _first_of(tried: Tried) -> str:
    """What the first few photographs are taken for."""
    names = [name.split(",")[0] for name in tried.names[:_SHOWN]]
    return ", ".join(names) + (", ..." if len(tried.names) > _SHOWN else "")


def percent(share: float) -> str:
    """A probability in a table."""
    return f"{100 * share:5.1f} %"


def in_a_table(text: str) -> str:
    """A name of anybody's, in a table."""
    return shortened(printable(text), _LONGEST)


def predicted(net: NetworkLike, photo: Any, top: int, **how_read: Any) -> Prediction:
    """What a network says of photographs; see `Network.predict`."""
    top = checks.count(top, "top")
    classes = net.classes_of()
    photos, u = _shown(net, photo, how_read)
    scores = scores_of(net, classes, u)
    best = classes.ranked(scores, top)
    shares = classes.probabilities(scores)
    return Prediction(
        net.name,
        photos,
        tuple(tuple(map(int, row)) for row in best),
        tuple(tuple(map(classes.name, row)) for row in best),
        tuple(map(tuple, np.take_along_axis(shares, best + classes.offset, axis=1).tolist())),
        tuple(shares[:, 0].tolist()) if classes.offset else None,
        () if net.preprocess_known or net.latent else tried(net, classes, u),
    )


def _shown(net: NetworkLike, photo: Any, how_read: dict[str, Any]) -> tuple[tuple[str, ...], np.ndarray]:
    """What photographs are called, and as the network takes them, (N, C, H, W)."""
    each = list(photo) if _is_list(photo) else [photo]
    if not each:
        checks.refuse(photo, "photo", "a path, an array, or a list of them, not an empty one")
    if any(value is not None for value in how_read.values()) and not any(map(_is_path, each)):
        raise InputError("range and page are of picture files; bring an array to [0, 1] yourself.")
    names: list[str] = []
    arrays: list[np.ndarray] = []
    for one in each:
        arrays.append(_read(net, one, how_read) if _is_path(one) else _fitted(net, one))
        count = len(arrays[-1])
        names += [str(one)] if _is_path(one) else [f"image {len(names) + k}" for k in range(count)]
    return tuple(names), np.concatenate(arrays)


def _is_path(photo: Any) -> bool:
    return isinstance(photo, str | os.PathLike)


def _is_list(photo: Any) -> bool:
    """Whether it is several photographs, rather than numbers of one."""
    several = isinstance(photo, list | tuple)
    return several and all(_is_path(each) or library(each) is not None for each in photo)


def _read(net: NetworkLike, path: Any, how_read: dict[str, Any]) -> np.ndarray:
    channels, *size = net.input_shape
    return read_image(checks.path(path, "a photograph"), size, channels, **how_read)[None]


def _fitted(net: NetworkLike, photo: Any) -> np.ndarray:
    """An array (C, H, W) or (N, C, H, W) of any size, fitted as a photograph is."""
    u, (channels, *size) = to_host(borrow_numbers(photo, "the photograph")), net.input_shape
    of_another_size = u.ndim in (3, 4) and u.shape[-3] == channels and list(u.shape[-2:]) != size
    # what is fitted is clipped to [0, 1], which other values should not be without a word
    if of_another_size and u.dtype.kind == "f" and u.size and u.min() >= -0.5 and u.max() <= 1.5:
        planes = u.reshape(-1, *u.shape[-3:]).astype(np.float32)
        u = np.stack([fitted(each, size) for each in planes])
    return to_host(net.check_image(u))
