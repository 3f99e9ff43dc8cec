"""The operators that enter themselves by a name: the options of ``--filter``, and an operator from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from ..named import Named, Option, members
from .options import Argument, Given, check_belongs, from_option, keywords
from .types import KINDS

DEFAULT = "sobolev"
"""The filter that is taken where none is named."""

# The least of the whole numbers of each kind.
_LEAST = {"count": 1, "natural": 0, "integer": -math.inf}


def operators(place: str) -> dict[str, Named]:
    """Those for a place, ``filter``, ``K_f`` or ``K_e``, by their names; the default is the first."""
    found = {name: e for name, e in members("operator").items() if place in e.facts.get("places", ())}
    return dict(sorted(found.items(), key=lambda item: (item[0] != DEFAULT, item[0])))


def options(entries: Mapping[str, Named], only: str = "") -> tuple[Argument, ...]:
    """What some operators take, strengths first; each option with all operators that have it.

    Parameters
    ----------
    only
        The fact by which an operator names those of its options that are wanted, if it does.
    """
    having: dict[str, list[tuple[str, Option]]] = {}
    for name, entry in entries.items():
        wanted = entry.facts.get(only, [option.name for option in entry.options])
        for option in entry.options:
            if option.name in wanted:
                having.setdefault(option.name, []).append((name, option))
    strengths = {entry.facts.get("strength") for entry in entries.values()}
    return tuple(_merged(having[name]) for name in sorted(having, key=lambda name: name not in strengths))


def _merged(having: list[tuple[str, Option]]) -> Argument:
    """One option of several operators, read as the widest of their kinds."""
    abouts: dict[str, list[str]] = {}
    for name, option in having:
        abouts.setdefault(option.about, []).append(name)
    about = "; ".join(f"{', '.join(names)}: {text}" for text, names in abouts.items())
    kind = max((option.kind for _, option in having), key=list(KINDS).index)
    words = dict.fromkeys(word for _, option in having for word in option.choices)
    choices = tuple(words) if all(option.choices for _, option in having) else ()
    of_all = Option(having[0][1].name, about, kind, choices)
    return from_option(of_all, belongs_to=tuple(name for name, _ in having))


def operator(entry: Named, table: tuple[Argument, ...], given: Given) -> Any:
    """The operator with those options of a table that were given; InputError for those of others."""
    check_belongs(given, table, "--filter ", entry.name)
    written = keywords(given, table)
    values = {o.keyword: _narrowed(written[o.keyword], o) for o in entry.options if o.keyword in written}
    for name in entry.facts.get("required", ()):
        if name not in values:
            raise InputError(f"--filter {entry.name} has no default {name}; give --{name}")
    return entry.make(**{**entry.facts.get("defaults", {}), **values})


def _narrowed(value: Any, option: Option) -> Any:
    """What was read for several operators, as the one at hand wants it."""
    if option.choices and value not in map(KINDS[option.kind].read, option.choices):
        raise InputError(f"--{option.name} is {value!r}; of this filter it is {' or '.join(option.choices)}")
    if option.kind not in _LEAST or isinstance(value, str):
        return value
    least = _LEAST[option.kind]
    if isinstance(value, tuple) or value != int(value) or value < least:
        from_there = "" if least == -math.inf else f" from {least:g}"
        raise InputError(f"--{option.name} is {value!r}; of this filter it is a whole number{from_there}")
    return int(value)
