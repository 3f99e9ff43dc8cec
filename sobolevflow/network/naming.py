"""How a layer may be written: its name, ``#12``, the end of its name, or a pattern."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

_LONGEST = 100  # characters of an end that is worth its name
_WORD = re.compile(r"(?<![^\W_])[^\W_]")  # where one begins


def matching(wanted: str, names: Collection[str]) -> list[str]:
    """The layers that are meant, in the file's order; a name that is there means itself alone.

    ``#12`` is the layer of that index, ``fire*/concat`` each that fits the pattern. Anything else is the end
    of a name, from where a word begins: ``concat`` is ``fire2/concat``, but not ``fire2/deconcat``.
    """
    if wanted in names:
        return [wanted]
    if re.fullmatch("#[0-9]{1,9}", wanted, re.ASCII):
        return list(names)[int(wanted[1:]) :][:1]
    if is_pattern(wanted):
        return [name for name in names if fnmatchcase(name, wanted)]
    return [name for name in names if _ends_with(name, wanted)]


def is_pattern(wanted: str) -> bool:
    """Whether it may stand for several layers."""
    return any(sign in wanted for sign in "*?[")


def shortest(names: Sequence[str]) -> list[str]:
    """The shortest end of each name that means it alone; the whole name where there is none."""
    counts = Counter(end for name in names for end in _ends(name))
    whole = set(names)
    return [
        next((end for end in _ends(name) if counts[end] == 1 and _is_plain(end, whole)), name)
        for name in names
    ]


def _is_plain(end: str, names: set[str]) -> bool:
    """Whether it is read as an end, and neither as a name, an index nor a pattern."""
    return not (end in names or is_pattern(end) or re.fullmatch("[0-9]+", end))


def _ends_with(name: str, wanted: str) -> bool:
    """Whether that is the end of a longer name, from where a word begins."""
    at = len(name) - len(wanted)
    return at > 0 and name.endswith(wanted) and _WORD.match(name, at) is not None


def _ends(name: str) -> list[str]:
    """The ends of a name that begin with a word, the shortest first, and none that is very long."""
    return [name[at.start() :] for at in _WORD.finditer(name, max(len(name) - _LONGEST, 1))][::-1]
