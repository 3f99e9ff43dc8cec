"""Checks of arguments: each kind of value once, and one form of sentence for what is wrong.

Every check takes the value and the name that the caller knows it by, returns the value as Python's own
type, and says ``NAME is VALUE; it must be ...`` where it is not what it must be. A bool is no number.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import numbers
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, TypeVar

from .errors import InputError, UnknownNameError, did_you_mean, warn

Name = TypeVar("Name", bound=str)

BEYOND = 0.5
"""How far outside of [0, 1] a value of an image may lie without a word."""

_SQUARED = 1e-15
_MOST = 60  # characters of a value that a message repeats
_BITS = 256  # of a whole number that a message writes out
_LARGEST = 2**63 - 1  # what arrays, files and clocks count to
_LARGEST_SINGLE = 3.4028234663852886e38
_LONGEST = 2_000_000  # entries that a sequence may have: what has more is endless


def shown(value: Any) -> str:
    """A value for a message: of an array kind, shape and dtype, of what is long its length, else itself."""
    try:
        return _shown(value)
    except Exception:  # the __repr__ of any class may raise what it likes
        return f"an object of the type {type(value).__name__}"


def _shown(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, type | ModuleType):
        kind, shape = type(value).__module__.partition(".")[0].removesuffix("lib"), tuple(value.shape)
        dtype = str(value.dtype).rpartition(".")[2]
        return f"a {kind} array of shape {shape}, {dtype}" if shape else f"{value!r:.{_MOST}}"
    if isinstance(value, list | tuple | set | frozenset | dict | bytes | bytearray):
        text = repr(value) if _is_short(value) else ""
        return text if 0 < len(text) <= _MOST else f"a {type(value).__name__} of {len(value)} values"
    if isinstance(value, str) and len(value) > 4 * _MOST:
        return f"a text of {len(value)} characters"
    if isinstance(value, int) and value.bit_length() > _BITS:
        return f"a whole number of about {value.bit_length() * math.log10(2):.0f} digits"
    text = repr(value)
    return text if len(text) <= 4 * _MOST else f"an object of the type {type(value).__name__}"


def _is_short(value: Any, levels: int = 2) -> bool:
    """Whether the text of a value may be short: no array, and of so many levels, each with few values."""
    if isinstance(value, str | bytes | bytearray):
        return len(value) <= _MOST
    if isinstance(value, list | tuple | set | frozenset | dict):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        return levels > 0 and len(value) <= _MOST and all(_is_short(each, levels - 1) for each in parts)
    return isinstance(value, type | ModuleType) or not getattr(value, "shape", ())


def summary(self: Any) -> str:
    """The text of a dataclass that holds arrays, as its ``__repr__``: each value as `shown` has it."""
    each = (f"{f.name}={shown(getattr(self, f.name))}" for f in dataclasses.fields(self) if f.repr)
    return f"{type(self).__name__}({', '.join(each)})"


def refuse(value: object, name: str, wanted: str, remedy: str = "") -> NoReturn:
    """Raise the InputError that all checks raise."""
    raise InputError(f"{name} is {shown(value)}; it must be {wanted}.{remedy and ' ' + remedy}")


def plain(value: Any) -> Any:
    """A scalar of NumPy, or of any library an array without axes, as Python's; anything else as it is."""
    without_axes = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
    return value.item() if without_axes and not hasattr(value, "mask") else value


def is_integer(value: object) -> bool:
    """Whether it is a whole number of Python or of an array without axes, and no bool."""
    value = plain(value)
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether it is a real number of Python or of an array without axes, finite as a float, and no bool."""
    value = plain(value)
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # of a whole number or a fraction beyond all floats
        return False


def count(value: Any, name: str, *, least: int = 1, most: int = _LARGEST, remedy: str = "") -> int:
    """`value` as an int; InputError unless it is a whole number from `least` to `most`."""
    if not is_integer(value) or plain(value) < least:
        refuse(value, name, f"a whole number of at least {least}", remedy)
    if plain(value) > most:
        refuse(value, name, f"a whole number from {least} to {most}", remedy)
    return int(value)


def number(value: Any, name: str, *, remedy: str = "") -> float:
    """`value` as a float; InputError unless it is a finite number."""
    if not is_number(value):
        refuse(value, name, "a finite number", remedy)
    return float(value)


def positive(value: Any, name: str, *, remedy: str = "") -> float:
    """`value` as a float; InputError unless it is a finite number above zero."""
    if not is_number(value) or plain(value) <= 0:
        refuse(value, name, "a finite number above zero", remedy)
    return float(value)


def in_the_middle(value: Any, name: str) -> float:
    """A number above zero whose square, and one over that, are numbers of single precision too."""
    number = positive(value, name)
    if not _SQUARED <= number <= 1 / _SQUARED:
        refuse(value, name, f"within {_SQUARED:g} and {1 / _SQUARED:g}, so that it can be squared")
    return number


def nonnegative(value: Any, name: str, *, remedy: str = "") -> float:
    """`value` as a float; InputError unless it is a finite number, 0 or above."""
    if not is_number(value) or plain(value) < 0:
        refuse(value, name, "a finite number, 0 or above", remedy)
    return float(value)


def single(value: Any, name: str, *, remedy: str = "") -> float:
    """`value` as a float; InputError unless it is a number that is finite in single precision."""
    if not is_number(value) or abs(plain(value)) > _LARGEST_SINGLE:
        refuse(value, name, "a finite number, in single precision", remedy)
    return float(value)


def text(value: Any, name: str, wanted: str = "a text") -> str:
    """`value`; InputError unless it is a text."""
    if not isinstance(value, str):
        refuse(value, name, wanted)
    return value


def path(value: Any, name: str, wanted: str = "a path") -> Path:
    """`value` as a path; InputError of what is none, or is one that no file can have."""
    try:
        found = os.fspath(value)
        if not isinstance(found, str) or b"\0" in os.fsencode(found):
            refuse(value, name, wanted)
    except InputError:
        raise
    except Exception:  # the __fspath__ of any class, and half of a character that takes two
        refuse(value, name, wanted)
    return Path(found)


def entries(value: Any, name: str, wanted: str) -> list[Any]:
    """The entries of a sequence, an array or what else can be gone through; InputError of everything else.

    Texts, mappings and arrays of several axes are no sequences of anything, and what does not end is refused.
    """
    if isinstance(value, str | bytes | bytearray | Mapping) or getattr(value, "ndim", 1) != 1:
        refuse(value, name, wanted)
    try:
        found = list(itertools.islice(value, _LONGEST + 1))
    except Exception:  # the __iter__ of any class
        refuse(value, name, wanted)
    if len(found) > _LONGEST:
        raise InputError(f"{name} has more than {_LONGEST} entries; it must be {wanted}.")
    return found


def items(value: Any, name: str, wanted: str) -> dict[Any, Any]:
    """A mapping as a dict; InputError of everything else."""
    if not isinstance(value, Mapping):
        refuse(value, name, wanted)
    return dict(value)


def flag(value: Any, name: str) -> bool:
    """`value`; InputError unless it is True or False."""
    if not isinstance(plain(value), bool):
        refuse(value, name, "True or False")
    return bool(value)


def one_of(value: Name, name: str, known: Iterable[str]) -> Name:
    """`value`; UnknownNameError, with near matches, unless it is one of the names that are known."""
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        raise UnknownNameError(f"{name} is {shown(value)}; known are {', '.join(map(repr, known))}.{hint}")
    return value


def axis(value: Any, name: str, rank: int, *, least: int = 0, most: int | None = None) -> int:
    """`value` counted from the front; InputError unless it is one of the axes from `least` to `most`.

    Negative numbers count from the end of an array of that rank; `most` is its last axis unless given.
    """
    most = rank - 1 if most is None else most
    place = int(value) if is_integer(value) else least - 1 - rank
    place = place + rank if place < 0 else place
    if not least <= place <= most:
        refuse(value, name, f"an axis from {least} to {most} of an array of {rank} axes")
    return place


def say_far_outside(name: str, low: float, high: float) -> None:
    """Warn of values that no image in [0, 1] has, nor one a little beyond, as noise and steps make it."""
    if low < -BEYOND or high > 1 + BEYOND:
        warn(
            f"{name} holds values from {low:.4g} to {high:.4g}, but images lie in [0, 1]: divide by 255 what "
            "has 8 bits, and leave what the network wants of it to preprocess= (--preprocess)"
        )
