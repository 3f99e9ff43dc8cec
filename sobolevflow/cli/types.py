"""What a word on the command line is read as: each raises ValueError with a sentence for what is none."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..named import as_name

_DIGITS = 40  # of whole numbers: those of 128 bits, as seeds may be, have 39


def _whole(text: str) -> int:
    if len(text.strip().lstrip("+-").lstrip("0")) > _DIGITS:
        raise ValueError(f"{_quoted(text)} is a larger number than anything here may be")
    return int(text)


def _quoted(text: str) -> str:
    return repr(text) if len(text) <= 2 * _DIGITS else f"{text[:_DIGITS]!r}... of {len(text)} characters"


def number(text: str) -> float:
    """A number or a fraction such as 5/255."""
    word = text.replace(" ", "")
    try:
        # a Fraction of 1e999999999 would be of as many digits
        found = float(Fraction(word)) if "/" in word else float(word)
    except (ValueError, ArithmeticError):  # the latter of 1/0
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"{_quoted(text)} is not a number or a fraction such as 5/255")
    return found


def strength(text: str) -> float | tuple[float, ...]:
    """A number, or two with a comma between them."""
    if "," not in text:
        return number(text)
    try:
        down, across = map(number, text.split(","))
    except ValueError:
        raise ValueError(f"{_quoted(text)} is neither a number nor two (down,across), such as 4,1") from None
    return down, across


def integer(text: str) -> int:
    """A whole number of either sign."""
    if not re.fullmatch("[+-]?[0-9]+", text.strip()):
        raise ValueError(f"{_quoted(text)} is not a whole number")
    return _whole(text)


def positive(text: str) -> int:
    """A whole number from 1."""
    if not re.fullmatch("0*[1-9][0-9]*", text):
        raise ValueError(f"{_quoted(text)} is not a positive integer")
    return _whole(text)


def natural(text: str) -> int:
    """A whole number from 0."""
    if not re.fullmatch("[0-9]+", text, re.ASCII):
        raise ValueError(f"{_quoted(text)} is not a whole number from 0")
    return _whole(text)


def share(text: str) -> float:
    """A number from 0 to 1."""
    found = number(text)
    if not 0 <= found <= 1:
        raise ValueError(f"{_quoted(text)} is not a number from 0 to 1")
    return found


def size(text: str) -> tuple[int, ...]:
    """HxW."""
    if not re.fullmatch("0*[1-9][0-9]*x0*[1-9][0-9]*", text, re.ASCII | re.IGNORECASE):
        raise ValueError(f"{_quoted(text)} is not a size such as 224x224 (height x width)")
    return tuple(map(_whole, text.lower().split("x")))


def input_shape(text: str) -> tuple[int, ...]:
    """HxW, or CxHxW for models that leave their channels open too."""
    channels, _, rest = text.lower().partition("x")
    if "x" in rest and re.fullmatch("-?[0-9]+", channels):
        return positive(channels), *size(rest)
    return size(text)


def array_shape(text: str) -> tuple[int, ...]:
    """NxCxHxW, or any other number of axes from two."""
    if not re.fullmatch("[1-9][0-9]*(x[1-9][0-9]*)+", text, re.ASCII):
        raise ValueError(f"{_quoted(text)} is not a shape such as 8x3x224x224")
    return tuple(map(_whole, text.split("x")))


def value_range(text: str) -> tuple[float, float] | str:
    """LOW:HIGH, two numbers with the smaller first, or auto."""
    if text == "auto":
        return text
    low, colon, high = text.partition(":")
    try:
        found = number(low), number(high)
    except ValueError:
        colon = ""
    if not colon or not found[0] < found[1]:
        raise ValueError(f"{_quoted(text)} is neither auto nor a range LOW:HIGH such as 0:4095 or -1000:1000")
    return found


def named_file(text: str) -> tuple[str, str]:
    """NAME=FILE, where either may hold further signs of equality: the file is one that exists."""
    at = [k for k, character in enumerate(text) if character == "=" and 0 < k < len(text) - 1]
    if not at:
        raise ValueError(f"{_quoted(text)} is not NAME=FILE, such as other=photo.jpg")
    cut = next((k for k in at if os.path.exists(text[k + 1 :])), at[0])
    return as_name(text[:cut]), text[cut + 1 :]


def limit(text: str) -> tuple[str, float]:
    """NAME=NUMBER, one of those of `Limits`."""
    name, _, value = text.partition("=")
    try:
        found = float(value)
    except ValueError:
        raise ValueError(f"{text!r} is not NAME=NUMBER, such as nodes=1e6") from None
    return name.strip(), int(found) if found == found // 1 else found


def octaves(text: str) -> int | list[float] | list[tuple[float, ...]]:
    """How many, or the scale of each, or SCALE:STEPS[:TAU], with commas between."""
    if re.fullmatch("-?[0-9]+", text, re.ASCII):
        return _whole(text)
    try:
        each = [tuple(number(part) for part in one.split(":")) for one in text.split(",")]
    except ValueError:
        each = []
    if each and all(len(parts) == 1 for parts in each):
        return [scale for (scale,) in each]
    if not each or any(len(parts) not in (2, 3) or parts[1] != int(parts[1]) for parts in each):
        raise ValueError(
            f"{_quoted(text)} is neither a whole number, nor scales such as 0.25,0.5,1, nor "
            "SCALE:STEPS[:TAU] of each, as 1:100,1.5:60:1/255"
        )
    return [(parts[0], int(parts[1]), *parts[2:]) for parts in each]


def counts(text: str) -> int | list[int]:
    """One whole number from 0, or several with commas between."""
    several = [natural(part) for part in text.split(",")]
    return several if "," in text else several[0]


def new_name(text: str) -> str:
    """The name of what is written, which an empty text is not."""
    if not text:
        raise ValueError("the name is empty")
    return text


@dataclass(frozen=True)
class Kind:
    """A kind of word.

    Parameters
    ----------
    metavar : str or tuple of str, optional
        What stands for it on a help page; a tuple where there are that many words.
    read : callable
        From a word to its value; raises ValueError with what is wrong with it.
    choices : tuple, optional
        The only values there are.
    writes : bool
        Whether it names a file or a folder that is written, in place of one that is read.
    """

    metavar: str | tuple[str, ...] | None = None
    read: Callable[[str], Any] = str
    choices: tuple[Any, ...] | None = None
    writes: bool = False

    @property
    def may_name_files(self) -> bool:
        """Whether words of it name files and folders, or may do so."""
        words = self.metavar if isinstance(self.metavar, tuple) else (self.metavar or "",)
        return any(file in word for word in words for file in ("FILE", "FOLDER", "PHOTO", "MODEL"))


TEXT = Kind()
FILE = Kind("FILE")
FOLDER = Kind("FOLDER")
NEW_FILE = Kind("FILE", new_name, writes=True)
NEW_FOLDER = Kind("FOLDER", new_name, writes=True)
NEW_FILE_OR_FOLDER = Kind("FILE|FOLDER", new_name, writes=True)
NUMBER = Kind("X", number)
STRENGTH = Kind("X[,X]", strength)
COUNT = Kind("N", positive)
NATURAL = Kind("N", natural)
INTEGER = Kind("N", integer)
SIZE = Kind("HxW", size)

# By the words of `named.Kind`; up to "text" each can be read as the next one.
KINDS = {
    "count": COUNT,
    "natural": NATURAL,
    "integer": INTEGER,
    "number": NUMBER,
    "strength": STRENGTH,
    "text": TEXT,
    "file": FILE,
    "size": SIZE,
    "octaves": Kind("N|SCALE[:STEPS[:TAU]],...", octaves),
}


def of_kind(name: str, choices: tuple[str, ...] = ()) -> Kind:
    """The kind of that name; with choices, words of that kind."""
    kind = KINDS[name]
    return Kind(read=kind.read, choices=tuple(map(kind.read, choices))) if choices else kind


def one_of(*choices: str) -> Kind:
    """One of some words."""
    return Kind(choices=choices)
