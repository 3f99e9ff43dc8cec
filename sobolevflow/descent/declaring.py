"""How a parameter of a descent is declared, and what the command line and help() are told of it.

A declaration is a frozen dataclass under `declares`, each of whose fields is made by `parameter`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Final, Literal, TypeVar, dataclass_transform

from ..named import Kind

Task = Literal["visualize", "invert"]

Written = Literal["always", "given", "never"]

Check = Callable[[Any, str], Any]

AUTO: Final = "auto"

GREY_LEVEL = 1 / 255

MOST_STEPS = 10**15
"""More would take some thousand years on any machine."""

Declared = TypeVar("Declared")


@dataclass(frozen=True)
class Usual:
    """What a parameter that was left open becomes: in the recipe of the task, and beside a caller's scheme.

    Parameters
    ----------
    alone : object
        Without a scheme.
    beside : object, optional
        With one; the same unless given.
    """

    alone: Any
    beside: Any = ...

    def __post_init__(self) -> None:
        if self.beside is ...:
            object.__setattr__(self, "beside", self.alone)


@dataclass(frozen=True)
class Command:
    """How the command line takes a parameter.

    Parameters
    ----------
    about : str
        The help text, without the default.
    kind
        What is written, as of `named.Option`.
    choices : tuple of str, or function that returns it
        The only words that it takes, where it takes words.
    otherwise : str, optional
        What the help text says of the default, where it is not that of the declaration.
    group : {"descent", "output"}
        Under which heading.
    """

    about: str
    kind: Kind
    choices: tuple[str, ...] | Callable[[], tuple[str, ...]] = ()
    otherwise: str | None = None
    group: Literal["descent", "output"] = "descent"


@dataclass(frozen=True)
class Facts:
    """What is declared of a parameter beside its name, type and default; see `parameter`."""

    doc: str
    none_is_an_answer: bool
    usual: dict[Task, Usual]
    otherwise: Any
    check: Check | None
    command: Command | None
    manifest: Written
    grows: bool

    def alone(self, task: Task, size: float) -> Any:
        """What it is without a scheme, for a network that takes `size` times 224 pixels."""
        usual = self.usual[task].alone
        return max(1, round(usual * size)) if self.grows else usual

    def is_written(self, value: Any) -> bool:
        """Whether the manifest has it."""
        return self.manifest == "always" or (self.manifest == "given" and value is not None)


def parameter(
    *,
    default: Any,
    doc: str,
    visualize: Usual | None = None,
    invert: Usual | None = None,
    otherwise: Any = None,
    check: Check | None = None,
    command: Command | None = None,
    manifest: Written = "always",
    grows: bool = False,
    none_is_an_answer: bool = False,
) -> Any:
    """Declare a parameter of a descent.

    Parameters
    ----------
    default : object
        In the signature; None or "auto" leave it open.
    doc : str
        Its type and, from the second line on, its paragraph of the docstring.
    visualize, invert : Usual, optional
        What it becomes in each task where it was left open.
    otherwise : object, optional
        What it becomes where it was left open and no recipe has it.
    check : callable, optional
        One of `sobolevflow.checks`, from (value, name) to the value. What depends on other parameters is
        checked by `Settings`.
    command : Command, optional
        How the command line takes it, if it does.
    manifest : {"always", "given", "never"}
        When it is written down: "given" leaves it out where it is None.
    grows : bool
        Whether it is in pixels and grows with the network's input, from the value that is meant for 224.
    none_is_an_answer : bool
        Whether None is a value like any other, so that "auto" alone leaves it open.
    """
    usual: dict[Task, Usual] = {}
    if visualize is not None:
        usual = {"visualize": visualize, "invert": visualize if invert is None else invert}
    facts = Facts(
        doc=inspect.cleandoc(doc),
        none_is_an_answer=none_is_an_answer,
        usual=usual,
        otherwise=otherwise,
        check=check,
        command=command,
        manifest=manifest,
        grows=grows,
    )
    return field(default=default, metadata={Facts: facts})


def default_of(of: type[Any], name: str, *, default: Any) -> Any:
    """A parameter of a declaration with another default, for a class below it."""
    return field(default=default, metadata={Facts: declared(of)[name]})


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(parameter, default_of, field)
)
def declares(cls: type[Declared]) -> type[Declared]:
    """Decorator: a frozen dataclass of keywords, whose fields are made by `parameter`."""
    return dataclass(frozen=True, kw_only=True)(cls)


def declared(of: type[Any]) -> dict[str, Facts]:
    """What is declared of each parameter, by name."""
    return {each.name: each.metadata[Facts] for each in fields(of) if Facts in each.metadata}


@dataclass(frozen=True)
class Parameter:
    """A parameter of `visualize` or `invert`, as the command line and the documentation show it.

    Parameters
    ----------
    name : str
    annotation : str
        Its type, as it is written in the signature.
    default : object
        In the signature.
    doc : str
        Its entry under Parameters of the docstring.
    about : str
        Its help text on the command line, without the default.
    otherwise : str or None
        What the help text says of the default.
    kind : str or None
        What is written on the command line, as of `named.Option`; None where it has no such option.
    choices : tuple of str
    group : str
        The heading under which the command line shows it.
    """

    name: str
    annotation: str
    default: Any
    doc: str
    about: str = ""
    otherwise: str | None = None
    kind: Kind | None = None
    choices: tuple[str, ...] = ()
    group: str = "descent"


def shown(of: type[Any], task: Task) -> list[Parameter]:
    """The parameters of a declaration, in their order."""
    return [_shown(each, each.metadata[Facts], task) for each in fields(of)]


def _shown(of: Field[Any], facts: Facts, task: Task) -> Parameter:
    command = facts.command
    shown = Parameter(of.name, str(of.type).replace("| Open", "| None"), of.default, facts.doc)
    if command is None:
        return shown
    return replace(
        shown,
        about=command.about,
        otherwise=command.otherwise or _otherwise(facts, task, of.default),
        kind=command.kind,
        choices=command.choices() if callable(command.choices) else command.choices,
        group=command.group,
    )


def _otherwise(facts: Facts, task: Task, default: Any) -> str | None:
    """The default in words, "16 at 224 pixels; with a scheme 2"; None where there is none to tell."""
    if task not in facts.usual:
        return None if default is None else _in_words(default)
    usual = facts.usual[task]
    alone = _in_words(usual.alone) + (" at 224 pixels" if facts.grows else "")
    return alone if usual.alone == usual.beside else f"{alone}; with a scheme {_in_words(usual.beside)}"


def _in_words(value: Any) -> str:
    """A default as it can be written on the command line; whole grey levels as fractions of 255."""
    if not isinstance(value, float):
        return str(value)
    levels = value / GREY_LEVEL
    in_levels = 0 < value < 1 and abs(levels - round(levels)) < 1e-9
    return f"{levels:.0f}/255" if in_levels else f"{value:g}"
