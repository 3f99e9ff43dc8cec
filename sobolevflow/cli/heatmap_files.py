"""Which files the maps of some photographs are written to, found out before any work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..files import check_apart, check_output, is_folder, make_folder
from ..pictures import WRITABLE
from .given import ARRAYS


@dataclass(frozen=True)
class Files:
    """What is written where.

    Attributes
    ----------
    pictures, arrays : tuple of path
        One for each photograph; empty where there are none of their own.
    sheet, stack : path or None
        A picture, and an array, of all of them.
    original : bool
        Whether maps have the size of their photographs, in place of what the network takes.
    """

    pictures: tuple[Path, ...]
    arrays: tuple[Path, ...]
    sheet: Path | None
    stack: Path | None
    original: bool


def files(photos: Sequence[str], output: str, arrays: str | None, size: str | None) -> Files:
    """What to write for some photographs.

    Parameters
    ----------
    photos
        Picture files.
    output, arrays
        A picture, and a file in NumPy's format, of all of them; or folders, in which each has its own, called
        as the photograph is. Without arrays, None.
    size : {"original", "network"} or None
        What was said of the size.

    Raises
    ------
    InputError
        Maps of several sizes would be put together, or a photograph would be overwritten.
    OutputError
        A file cannot be written.
    """
    several = len(photos) > 1
    apart = _is_for_each(output, several)
    arrays_apart = arrays is not None and _is_for_each(arrays, several)
    if several and not apart and size == "original":
        raise InputError(
            f"{output!r} would show maps of several sizes side by side; name a folder, or say --size network"
        )
    original = size == "original" or (size is None and (apart or not several))
    stacked = arrays is not None and not arrays_apart
    if stacked and several and original:
        raise InputError(
            f"{arrays!r} would hold maps of several sizes; name a folder for --npy, or say --size network"
        )
    pictures = _own(photos, output, ".png") if apart else ()
    own_arrays = _own(photos, arrays, ARRAYS[0]) if arrays is not None and arrays_apart else ()
    found = Files(
        pictures,
        own_arrays,
        None if apart else Path(output),
        Path(arrays) if arrays is not None and stacked else None,
        original,
    )
    drawn = (*pictures, *([] if found.sheet is None else [found.sheet]))
    held = (*own_arrays, *([] if found.stack is None else [found.stack]))
    for path, endings in (*((path, WRITABLE) for path in drawn), *((path, ARRAYS) for path in held)):
        check_output(path, endings, photos)
    check_apart([*drawn, *held])
    return found


def _is_for_each(path: str, several: bool) -> bool:
    """Whether each photograph has a file in it: in a folder, and for several in what has no ending."""
    return is_folder(path) or (several and not Path(path).suffix)


def _own(photos: Sequence[str], folder: str, ending: str) -> tuple[Path, ...]:
    made = make_folder(folder)
    return tuple(made / f"{name}{ending}" for name in names(photos))


def names(photos: Sequence[str]) -> list[str]:
    """A name for what becomes of each photograph, no two alike: as short as that can be.

    >>> names(["b.jpg", "b.png", "sub/a.jpg", "a.jpg", "c.jpg", "c.jpg"])
    ['b.jpg', 'b.png', 'sub-a', 'a', 'c', 'c-2']
    """
    found: list[str] = []
    shapes: tuple[Callable[[Path], str], ...] = (
        lambda path: path.stem,
        lambda path: path.name,
        lambda path: "-".join(path.with_suffix("").parts[-2:]),
        lambda path: "-".join(part for part in path.parts if part != path.anchor),
    )
    drawn = [[shape(Path(photo)) for photo in photos] for shape in shapes]
    counts = [Counter(name.casefold() for name in each) for each in drawn]
    for k in range(len(photos)):
        own = [each[k] for each in drawn]
        alone = [name for name, count in zip(own, counts, strict=True) if count[name.casefold()] == 1]
        found.append(_unlike(alone[0] if alone else own[0], found))
    return found


def _unlike(name: str, others: Sequence[str]) -> str:
    """The name, with a number where others have it."""
    taken = {other.casefold() for other in others}
    numbered = (name if k == 1 else f"{name}-{k}" for k in range(1, len(others) + 2))
    return next(each for each in numbered if each.casefold() not in taken)
