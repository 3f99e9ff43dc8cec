r"""Text of others, before it is shown: nothing that a terminal obeys, in one line, and not too long.

Names of layers, classes and files are anybody's. What a terminal or a browser would act upon, or would not
show, is written as Python writes it in a string, ``\x1b``: control characters, whatever turns the direction
of writing, lone surrogates, what has no width, and marks heaped upon a letter. What is too long loses its
middle.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count, groupby
from typing import Any

MOST = 400
"""Characters of a message."""

_GAP = "..."
_LEAST = 32  # characters that a name in a message keeps, as long as there are fewer than a dozen such names
_HEAPED = 4  # marks upon one letter, which is what scripts need

# Quoted names, and words without a space, among them paths.
_NAME = re.compile(r"""(?<!\w)'(?:[^'\\]|\\.)*'(?!\w)|(?<!\w)"(?:[^"\\]|\\.)*"(?!\w)|\S+""")
_BREAK = re.compile(r"[ \t]*[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\s*")


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, and of each whether it may be shown as it is."""
    if text.isascii() and text.isprintable():
        yield text, True
        return
    for plain, run in groupby(zip(text, _plain(text), strict=True), lambda each: each[1]):
        yield "".join(character for character, _ in run), plain


def _plain(text: str) -> Iterator[bool]:
    """Of each character, whether it may be shown as it is."""
    heaped = 0
    for character in text:
        kind = unicodedata.category(character)
        heaped = heaped + 1 if kind in ("Mn", "Me") else 0
        yield heaped <= _HEAPED and (character.isprintable() or kind == "Zs")


def escaped(text: str) -> str:
    r"""Every character as an escape: ``\x1b``, ``\n``, ``\u202e``."""
    return text.encode("unicode_escape").decode("ascii")


def printable(text: str) -> str:
    """A name as it may be printed: a line that holds no character which a terminal acts upon or hides."""
    return "".join(piece if plain else escaped(piece) for piece, plain in pieces(text))


def shortened(text: str, most: int, width: Callable[[str], int] = len) -> str:
    """A text without its middle, where it is longer.

    Parameters
    ----------
    text : str
    most : int
        How long it may be.
    width : callable
        How long a text is; in characters unless given.
    """
    return text if width(text) <= most else _around(text, _GAP, most, width)


def _around(text: str, gap: str, most: int, width: Callable[[str], int]) -> str:
    """The two ends of a text, with something between them."""
    ends = max(min(most - len(gap), len(text)), 0)
    while True:
        found = text[: ends - ends // 2] + gap + text[len(text) - ends // 2 :]
        if ends == 0 or width(found) <= most:
            return found
        ends -= 1


def apart(names: Sequence[str], most: int, width: Callable[[str], int] = len) -> list[str]:
    """Names for a table: printable, none longer than that, and none alike that are not.

    Those whose ends are the same are numbered.
    """
    whole = [printable(name) for name in names]
    found = dict(zip(whole, (shortened(name, most, width) for name in whole), strict=True))
    counts = Counter(found.values())
    taken = {short for name, short in found.items() if counts[short] == 1 or short == name}
    for name, short in found.items():
        if counts[short] > 1 and short != name:
            numbered = (_around(name, f"{_GAP}{k}{_GAP}", most, width) for k in count(1))
            found[name] = next(each for each in numbered if each not in taken)
            taken.add(found[name])
    return [found[name] for name in whole]


def one_line(text: str, most: int = MOST) -> str:
    """A message as it may be printed: in one line, and with its long names shortened, so that its end stays.

    A message that is too long all the same loses its middle.
    """
    if len(text) <= most and text.isascii() and text.isprintable():
        return text
    line = printable(_BREAK.sub(" ", shortened(text.strip(), 16 * most)))
    if len(line) <= most:
        return line
    names = [len(found[0]) for found in _NAME.finditer(line)]
    spare = len(line) - most
    kept = next((k for k in range(most, _LEAST, -1) if _saved(names, k) >= spare), _LEAST)
    return shortened(_NAME.sub(lambda found: shortened(found[0], kept), line), most)


def _saved(lengths: Sequence[int], most: int) -> int:
    """How many characters go where none of some words may be longer."""
    return sum(max(length - most, 0) for length in lengths)


def as_json(data: Any, **how: Any) -> str:
    r"""The data as JSON of ASCII alone: ``\u001b``, and ``\u007f``, which the standard library leaves out.

    Keywords are those of `json.dumps`.
    """
    return json.dumps(data, **how).replace("\x7f", "\\u007f")
