"""How objectives are written on the command line.

An objective enters itself by `sobolevflow.named.named`, with what `spelled` returns as its facts. Of

>>> @named(  # doctest: +SKIP
...     "objective",
...     "channel",
...     **spelled(
...         "LAYER:C",
...         "mean of one channel",
...         lambda units, net, images: Channel(*of_one_layer("--channel", units, net)),
...         parse=unit(1, 1),
...         repeat=True,
...         commands=("visualize", "gradient", "attribute"),
...     ),
... )
... @dataclass(frozen=True)
... class Channel(Leaf): ...

the command line makes ``--channel LAYER:C`` of three commands. What the objective takes besides are the
`Option`s of its entry, as ``--p`` of an inversion: those that were given reach its ``read`` as keywords.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, InputFileError, warn
from ..files import arrays_in
from ..named import as_name
from ..pictures import read_image

if TYPE_CHECKING:
    from ..network import Network
    from .base import Objective

# What the command line reads photographs with, as the network takes them, (N, C, H, W); the second argument
# is what a message advises in Python where the network takes no pictures: ``images(paths, "sf.Inversion")``.
Images = Callable[[Sequence[str], str], np.ndarray]

Reading = tuple[str, tuple[int, ...]]  # a layer, and the numbers of a unit in it


def spelled(
    metavar: str | tuple[str, ...],
    about: str,
    read: Callable[..., Objective],
    *,
    parse: Callable[[str], Any] = str,
    repeat: bool = False,
    instead: str = "",
    commands: tuple[str, ...] = ("visualize", "gradient"),
) -> dict[str, Any]:
    """The facts of an objective's entry: its arguments by name, and ``nargs``.

    Parameters
    ----------
    metavar : str or tuple of str
        What is written after the name: one word, or several, of which ``nargs`` is the number.
    about : str
        What it is, for ``--help``; that it may be repeated is added.
    read : callable
        ``read(given, net, images, **options)`` returns the objective; ``given`` has an entry for each time
        that it was asked for, a parsed word or a tuple of them, ``images`` reads photographs (`Images`).
    parse : callable
        From each word to its value; raises ValueError with what is wrong with it.
    repeat : bool
        Whether asking several times makes a batch; else it is refused, and `given` has one entry.
    instead : str
        What such a refusal advises.
    commands : tuple of {"visualize", "gradient", "attribute"}
        Where it is offered.
    """
    return {
        "metavar": metavar,
        "nargs": 1 if isinstance(metavar, str) else len(metavar),
        "about": about,
        "read": read,
        "parse": parse,
        "repeat": repeat,
        "instead": instead,
        "commands": commands,
    }


def unit(*counts: int) -> Callable[[str], Unit]:
    """A parser of LAYER:NUMBER[:NUMBER...], with so many numbers; with any, where none is said.

    Names of layers may hold colons and end in numbers themselves, as those of TensorFlow, ``dense:0``. Which
    is which the layers of the network tell, in `of_one_layer`; where two of them fit, ``dense:0,2`` with
    commas between the numbers says it.
    """

    def parse(text: str) -> Unit:
        unit = Unit(as_name(text), counts)
        if not unit.readings:
            raise ValueError(f"{text!r} is not of the form {unit.form}")
        return unit

    return parse


@dataclass(frozen=True)
class Unit:
    """A layer and the numbers of a unit in it, as they were written.

    Parameters
    ----------
    text : str
    counts : tuple of int
        How many numbers there may be; empty where any.
    """

    text: str
    counts: tuple[int, ...] = ()

    @property
    def form(self) -> str:
        """How it is to be written."""
        most = max(self.counts, default=2)
        return "LAYER:C" + ("[:Y:X]" if most > 1 else "") if self.counts else "LAYER:NUMBER[:NUMBER...]"

    @property
    def readings(self) -> list[Reading]:
        """All that it can mean, the longest name of a layer first."""
        return [each for each in self.all_readings if not self.counts or len(each[1]) in self.counts]

    @property
    def all_readings(self) -> list[Reading]:
        """With any count of numbers, and none where that may be."""
        name, _, last = self.text.rpartition(":")
        if name and re.fullmatch("[0-9]{1,18}(,[0-9]{1,18})+", last, re.ASCII):
            return [(name, tuple(map(int, last.split(","))))]
        found: list[Reading] = [(self.text, ())] if 0 in self.counts else []
        parts = self.text.split(":")
        for k in range(len(parts) - 1, 0, -1):
            if not re.fullmatch("[0-9]{1,18}", parts[k], re.ASCII):
                break
            found.append((":".join(parts[:k]), tuple(map(int, parts[k:]))))
        return [(name, numbers) for name, numbers in found if name]

    def among(self, ranks: Mapping[str, int | None], flag: str) -> Reading:
        """What it means where these are the layers.

        Parameters
        ----------
        ranks : mapping
            From the names of the layers to how many axes they have, where that is known.
        flag : str
            The option that it was written behind, for messages.

        Raises
        ------
        InputError
            There is such a layer, but so many numbers are not for that option.

        Warns
        -----
        AssumptionWarning
            It can mean units of two layers; the one with the longest name is taken.
        """
        here = [each for each in self.readings if each[0] in ranks]
        fitting = [each for each in here if _fits(ranks[each[0]], len(each[1]))]
        if len(fitting) > 1:
            (taken, numbers), (other, others) = fitting[:2]
            warn(
                f"{flag} {self.text} was read as {_comma_separated(numbers)} of layer {taken!r}; there is "
                f"a layer {other!r} too; {flag} {other}:{_comma_separated(others)} asks for that"
            )
        if here:
            return (fitting or here)[0]
        for name in (self.text, *(name for name, _ in self.all_readings)):
            if name in ranks:
                raise InputError(f"{flag} {self.text} names layer {name!r}; write {self.form} for its units")
        return self.readings[-1]


def _fits(rank: int | None, numbers: int) -> bool:
    """Whether a layer with so many axes, if that is known, may have units that take so many numbers.

    A channel takes one, a unit one for each axis but that of the images, which is none of a single number.
    """
    return rank is None or (numbers == 1 < rank) or numbers == rank - 1


def _comma_separated(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def of_one_layer(flag: str, given: Sequence[Unit], net: Network | None = None) -> tuple[Any, ...]:
    """The layer, and its units as one index (or list of indices, for a batch) per axis.

    With `net`, numbers that belong to the names of its layers, as in ``relu:0``, are told from indices;
    without it as many as there may be are taken for indices.
    """
    if net is None:
        read = [each.readings[-1] for each in given]
    else:
        ranks = {name: None if shape is None else len(shape) for name, shape in net.shapes.items()}
        read = [each.among(ranks, flag) for each in given]
    layer, first = read[0]
    if any(other != layer or len(numbers) != len(first) for other, numbers in read):
        raise InputError(f"{flag} can be repeated for units of one layer only, all written alike")
    axes = zip(*(numbers for _, numbers in read), strict=True)
    return layer, *(axis[0] if len(given) == 1 else list(axis) for axis in axes)


def read_weights(path: str, size: Sequence[int]) -> np.ndarray:
    """Weights over positions: the array in a file of NumPy's as it is, or a picture of that size, in grey."""
    if holds_array(path):
        return read_vector(path)
    weights: np.ndarray = read_image(path, size, channels=1)[0]
    return weights


def holds_array(path: str) -> bool:
    """Whether a file is one of NumPy's, by its name, and no picture."""
    return path.lower().endswith(".npy")


def read_vector(path: str) -> np.ndarray:
    """The array in a file of NumPy's."""
    try:
        vector = arrays_in(path)
    except FileNotFoundError:
        raise InputFileError(f"There is no file {path!r}; check the path.") from None
    except OSError as error:
        raise InputFileError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputFileError(f"{path}: no array in NumPy's format can be read from it ({error})") from None
    if not isinstance(vector, np.ndarray):
        raise InputFileError(f"{path}: holds several arrays; write the one meant with numpy.save")
    return vector
