"""What can be asked for by a name: operators, optimizers and objectives state theirs where they stand.

A class is entered by a decorator, and everything else follows from the entry: that it is found by its name,
that the command line offers it, an operator or objective with its options, and what a message says of it. A
class of another program is entered alike, before `sobolevflow.cli.main` is called in the same process.

>>> from sobolevflow.named import Option, named
>>> @named("optimizer", "sign")
... class Sign: ...  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from .errors import InputError, UnknownNameError, did_you_mean

Family = Literal["operator", "penalty", "optimizer", "objective", "parametrization"]
Kind = Literal["number", "strength", "count", "natural", "integer", "size", "octaves", "text", "file"]
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
    kind : {"number", "strength", "count", "natural", "integer", "size", "octaves", "text", "file"}
        What is written: a number or fraction, one or two of them with a comma between, a whole number from
        1, from 0, or any, HxW, octaves as `visualize` has them, anything, a file. With choices it is text
        unless given, else a number.
    choices : tuple of str
        The only words that it takes.
    keyword : str
        The keyword, where the option is called otherwise than that.

    Raises
    ------
    InputError
        The name is no keyword, or there is no such kind.
    """

    name: str
    about: str
    kind: Kind = "number"
    choices: tuple[str, ...] = ()
    keyword: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise InputError(
                f"An option is called {self.name!r}; it must be a keyword, such as 'sigma_range'."
            )
        if not self.keyword:
            object.__setattr__(self, "keyword", self.name)
        if self.choices and self.kind == "number":
            object.__setattr__(self, "kind", "text")
        if self.kind not in get_args(Kind):
            known = ", ".join(map(repr, get_args(Kind)))
            raise InputError(f"option {self.name!r} has the kind {self.kind!r}; known are {known}.")


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
    """Decorator that enters a class under a name; one that is entered already is replaced.

    Parameters
    ----------
    family : {"operator", "penalty", "optimizer", "objective", "parametrization"}
    name : str
        Small letters and digits, with dashes between them.
    *options : Option
        What it takes as keywords; a penalty has none.
    **facts
        CONTRIBUTING.md has those of an operator, `sobolevflow.objectives.spelling` those of an objective.

    Raises
    ------
    InputError
        The entry could not be used: it says what is wrong with it.
    """

    def enter(make: Made) -> Made:
        entry = Named(family, name, make, options, facts)
        trouble = _trouble(entry)
        if trouble:
            raise InputError(f"{family} {name!r} cannot be entered: {trouble}.")
        _ENTRIES[family, name] = entry
        return make

    return enter


_PLACES = ("filter", "K_f", "K_e")

_FACTS: dict[Family, tuple[str, ...]] = {
    "operator": ("places", "strength", "in_scheme", "required", "defaults"),
    "optimizer": (),
    "parametrization": (),
    "objective": ("metavar", "nargs", "about", "read", "parse", "repeat", "instead", "commands"),
}


def _trouble(entry: Named) -> str:
    """What is wrong with an entry, found where it is made and not where it is used."""
    if entry.family not in get_args(Family):
        return f"families are {', '.join(get_args(Family))}"
    if not isinstance(entry.name, str) or not re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", entry.name):
        return "a name is of small letters and digits, with dashes between them"
    if entry.name == "auto":
        return "auto is what is left open"
    strange = [option for option in entry.options if not isinstance(option, Option)]
    if strange:
        return f"{strange[0]!r} is no Option"
    if entry.options and entry.family not in _FACTS:
        return f"a {entry.family} has no options"
    unknown = [fact for fact in entry.facts if fact not in _FACTS.get(entry.family, ())]
    if unknown:
        return f"there is no fact {unknown[0]!r}"
    if entry.family == "objective":
        return "" if "read" in entry.facts else "its facts are those of sobolevflow.objectives.spelled"
    return _trouble_of_class(entry)


def _trouble_of_class(entry: Named) -> str:
    """What is wrong with what is called, and with what it is called with."""
    places = [place for place in entry.facts.get("places", ()) if place not in _PLACES]
    if places:
        return f"places are {', '.join(_PLACES)}, not {places[0]!r}"
    if isinstance(entry.make, type):
        if inspect.isabstract(entry.make):
            left: frozenset[str] = entry.make.__abstractmethods__  # type: ignore[attr-defined]
            return f"{entry.make.__name__} leaves open {', '.join(sorted(left))}"
        if entry.family in ("operator", "optimizer") and not _is_called(entry.make):
            return f"{entry.make.__name__} has no __call__"
    keywords = inspect.signature(entry.make).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in keywords):
        return ""
    names = {each.name for each in keywords}
    absent = [option.keyword for option in entry.options if option.keyword not in names]
    return f"it takes no {absent[0]!r}" if absent else ""


def _is_called(cls: type) -> bool:
    """Whether what a class makes can be called; ``callable(cls)`` says that the class can."""
    return any("__call__" in vars(each) for each in cls.__mro__)


def as_name(text: str) -> str:
    """A name as it is in a file, where the shell's words were read by a locale that knows ASCII alone."""
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        return text


def index_or_name(text: str) -> int | str:
    """A class by its index or by its name."""
    return int(text) if re.fullmatch("-?[0-9]{1,18}", text) else as_name(text)


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
