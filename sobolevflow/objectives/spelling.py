"""How objectives are written on the command line.

An objective enters itself by `sobolevflow.named.named`, with what `spelled` returns as its facts. Of

>>> @named(  # doctest: +SKIP
...     "objective",
...     "channel",
...     **spelled(
...         "LAYER:C",
...         "mean of one channel",
...         lambda units, net, images: Channel(*of_one_layer("--channel", units)),
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
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from ..network import Network
    from .base import Objective

# What the command line reads photographs with, as the network takes them, (N, C, H, W); the second argument
# is what a message advises in Python where the network takes no pictures: ``images(paths, "sf.Inversion")``.
Images = Callable[[Sequence[str], str], np.ndarray]

Unit = tuple[str, tuple[int, ...]]
Given = TypeVar("Given")


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


def number_or_name(text: str) -> int | str:
    """A class by its index or its name."""
    return int(text) if re.fullmatch("-?[0-9]+", text) else text


def unit(*counts: int) -> Callable[[str], Unit]:
    """A parser of LAYER:NUMBER[:NUMBER...], with so many numbers; layer names may hold colons themselves."""

    def parse(text: str) -> Unit:
        parts = text.split(":")
        numbers: list[int] = []
        while len(parts) > 1 and len(numbers) < max(counts) and re.fullmatch("[0-9]+", parts[-1]):
            numbers.insert(0, int(parts.pop()))
        if len(numbers) not in counts or not parts[0]:
            raise ValueError(f"{text!r} is not of the form LAYER:C" + "[:Y:X]" * (max(counts) > 1))
        return ":".join(parts), tuple(numbers)

    return parse


def of_one_layer(flag: str, given: Sequence[Unit], net: Network | None = None) -> tuple[Any, ...]:
    """The layer, and its units as one index (or list of indices, for a batch) per axis.

    With `net`, numbers that belong to the names of its layers, as in ``relu:0``, are told from indices.
    """
    if net is not None:
        layers = {info.name for info in net.layers}
        given = [_told_apart(each, layers) for each in given]
    layer = given[0][0]
    if any(other != layer or len(numbers) != len(given[0][1]) for other, numbers in given):
        raise InputError(f"{flag} can be repeated for units of one layer only, all written alike")
    axes = zip(*(numbers for _, numbers in given), strict=True)
    return layer, *(axis[0] if len(given) == 1 else list(axis) for axis in axes)


def _told_apart(unit: Unit, layers: Collection[str]) -> Unit:
    """A unit whose layer is one of these, by as few of its numbers as belong to the name; else as it is."""
    name, numbers = unit
    for k in range(len(numbers)):
        longer = ":".join((name, *map(str, numbers[:k])))
        if longer in layers:
            return longer, numbers[k:]
    return unit


def read_vector(path: str) -> np.ndarray:
    """The array in a file of NumPy's."""
    try:
        vector = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: no array in NumPy's format can be read from it ({error})") from None
    if not isinstance(vector, np.ndarray):
        raise InputError(f"{path}: holds several arrays; write the one meant with numpy.save")
    return vector
