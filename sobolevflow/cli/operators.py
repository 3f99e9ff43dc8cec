"""The operators that enter themselves by a name: the options of ``--filter``, and an operator from them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..errors import InputError
from ..named import Named, Option, members
from .options import Argument, Given, check_belongs
from .types import KINDS, of_kind

DEFAULT = "sobolev"
"""The filter that is taken where none is named."""

Offered = Mapping[str, Named]


def operators(place: str) -> dict[str, Named]:
    """Those that name a place, ``filter``, ``K_f`` or ``K_e``, by their names; the default comes first."""
    found = {name: e for name, e in members("operator").items() if place in e.facts.get("places", ())}
    return dict(sorted(found.items(), key=lambda item: item[0] != DEFAULT))


def options_of(entry: Named, only: Collection[str] | None = None) -> list[Option]:
    """The options of an operator, its strength first; only some of them where that is asked."""
    chosen = [option for option in entry.options if only is None or option.name in only]
    return sorted(chosen, key=lambda option: option.name != entry.facts.get("strength"))


def merged(each: Mapping[str, Iterable[Option]]) -> tuple[Argument, ...]:
    """The options of several operators, each with all operators that have it."""
    having: dict[str, list[tuple[str, Option]]] = {}
    for name, options in each.items():
        for option in options:
            having.setdefault(option.name, []).append((name, option))
    return tuple(map(_merged, having.values()))


def _merged(having: list[tuple[str, Option]]) -> Argument:
    """One option of several operators, read as the widest of their kinds."""
    abouts: dict[str, list[str]] = {}
    for name, option in having:
        abouts.setdefault(option.about, []).append(name)
    widest = max((option.kind for _, option in having), key=list(KINDS).index)
    choices = tuple(dict.fromkeys(word for _, option in having for word in option.choices))
    return Argument(
        f"--{having[0][1].name.replace('_', '-')}",
        "; ".join(f"{', '.join(names)}: {about}" for about, names in abouts.items()),
        of_kind(widest, choices),
        belongs_to=tuple(name for name, _ in having),
    )


def operator(entry: Named, table: tuple[Argument, ...], given: Given) -> Any:
    """The operator with the options that were given; InputError for those of others."""
    check_belongs(given, table, "--filter ", entry.name)
    values = {o.name: _narrowed(given[o.name], o) for o in entry.options if o.name in given}
    for name in entry.facts.get("required", ()):
        if name not in values:
            raise InputError(f"--filter {entry.name} has no default {name}; give --{name}")
    return entry.make(**{**entry.facts.get("defaults", {}), **values})


def _narrowed(value: Any, option: Option) -> Any:
    """A number that was read for several operators, as the one at hand wants it."""
    whole = option.kind in ("count", "natural") and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value
