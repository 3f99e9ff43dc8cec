"""What can be asked for by a name: operators, optimizers and objectives state theirs, and their options.

A class is entered where it stands, by a decorator, and everything else follows from the entry: that the
command line offers it and its options, that it is found by its name, and what a message says of it. A class
of somebody else's program is entered alike, before `sobolevflow.cli.main` is called in the same process.

>>> from sobolevflow.named import Option, named
>>> @named("optimizer", "sign")
... class Sign: ...  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from .errors import UnknownNameError, did_you_mean

Family = Literal["operator", "penalty", "optimizer", "objective", "parametrization"]
Kind = Literal["number", "strength", "count", "natural", "integer", "size", "text"]
Made = TypeVar("Made", bound=Callable[..., Any])


@dataclass(frozen=True)
class Option:
    """A keyword argument of a class, as the command line offers it.

    Parameters
    ----------
    name : str
        The keyword; ``sigma_range`` is ``--sigma-range``.
    about : str
        What it is, in a few words, with its unit and default.
    kind : {"number", "strength", "count", "natural", "integer", "size", "text"}
        What is written: a number or fraction, one or two of them with a comma between, a whole number from
        1, from 0, or any, HxW, anything.
    choices : tuple of str
        The only words that it takes, where it takes words.
    """

    name: str
    about: str
    kind: Kind = "number"
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Named:
    """An entry: a name, what it makes, its options, and what else its family wants to know.

    Parameters
    ----------
    family : {"operator", "penalty", "optimizer", "objective", "parametrization"}
    name : str
        As it is written on the command line.
    make : callable
        The class; takes the options as keywords.
    options : tuple of Option
    facts : mapping
        What users of the family look at: see the room of the family.
    """

    family: Family
    name: str
    make: Callable[..., Any]
    options: tuple[Option, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


# The rooms that hold the members of a family; importing them enters what comes with the package.
_HOMES: dict[Family, tuple[str, ...]] = {
    "operator": ("filters", "proximal", "maps"),
    "penalty": ("schemes",),
    "optimizer": ("optimizers",),
    "objective": ("objectives",),
    "parametrization": ("descent.parametrization",),
}
_ENTRIES: dict[tuple[Family, str], Named] = {}


def named(family: Family, name: str, *options: Option, **facts: Any) -> Callable[[Made], Made]:
    """Decorator that enters a class under a name; one that is entered already is replaced."""

    def enter(make: Made) -> Made:
        _ENTRIES[family, name] = Named(family, name, make, options, facts)
        return make

    return enter


def forget(family: Family, name: str) -> None:
    """Take an entry back, as a test does."""
    _ENTRIES.pop((family, name), None)


def members(family: Family) -> dict[str, Named]:
    """All entries of a family by name, in the order in which they were entered."""
    for home in _HOMES[family]:
        room = importlib.import_module(f".{home}", __package__)
        for public in getattr(room, "__all__", ()):
            getattr(room, public)  # a face that is lazy loads its modules only so
    return {name: entry for (of, name), entry in _ENTRIES.items() if of == family}


def member(family: Family, name: str) -> Named:
    """The entry of that name; UnknownNameError, with near matches, where there is none."""
    known = members(family)
    if name not in known:
        raise UnknownNameError(
            f"There is no {family} {name!r}; known are {', '.join(known)}.{did_you_mean(str(name), known)}"
        )
    return known[name]


def by_class(family: Family, class_name: str) -> Named | None:
    """The entry whose class has that name in Python, as manifests spell it; None where there is none."""
    return next((e for e in members(family).values() if e.make.__name__ == class_name), None)


def entry_of(made: object) -> Named | None:
    """The entry of the class that an object is of, or of the nearest that it derives from; None without."""
    entries = {entry.make: entry for entry in _ENTRIES.values()}
    return next((entries[each] for each in type(made).__mro__ if each in entries), None)


def name_of(made: object) -> str:
    """The name by which an object's class was entered, or that of the class itself."""
    entry = entry_of(made)
    return type(made).__name__ if entry is None else entry.name
