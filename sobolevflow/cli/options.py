"""The declarative table of a command: its arguments, what argparse makes of them, checks and forwards.

An option is declared once, beside the command that has it: how it is written, what it says of itself, what
is read, which choices of another option it belongs to, and which keyword of a function it becomes.

>>> @command("brightness", "print how bright a picture is", "sobolevflow brightness photo.png",
...          (Argument("photo", "image file"), Argument("--max", "of the brightest pixel", flag=True)))
... def brightness(given): ...  # doctest: +SKIP

A command of another program is declared alike, before `sobolevflow.cli.main` is called in the same process.
"""

from __future__ import annotations

import argparse
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import InputError
from ..named import Option
from .types import TEXT, Kind, of_kind

_LONG = 26  # choices that take more characters are listed in the help text

Given = Mapping[str, Any]
"""What was given on a command line, by `Argument.key`, nothing of what was not, and all of its words."""

WORDS = "words"
"""The key of these."""


@dataclass(frozen=True)
class Argument:
    """An option of a command, or a word that stands in its place without a name.

    Parameters
    ----------
    name : str
        As it is written, ``--sigma-range`` or ``-o/--output``; without dashes where it has no name.
    about : str
        What it is, in a few words, with its unit and default.
    kind : Kind
        What a word of it is read as.
    words : {"?", "*", "+"}, optional
        How many words, where it is not one, nor as many as the kind has metavars.
    flag : object, optional
        What it stands for if it takes no word.
    repeat : bool
        Whether it may be given several times, which makes its value a list.
    required : bool
    default : object, optional
        What it is where it is not given; most are then absent, and the library's defaults apply.
    belongs_to : tuple of str
        The choices of another option that have it; empty where it belongs to all.
    keyword : str
        Of the function that it is forwarded to, where that has another name.
    """

    name: str
    about: str = ""
    kind: Kind = TEXT
    words: Literal["?", "*", "+"] | None = None
    flag: Any = None
    repeat: bool = False
    required: bool = False
    default: Any = argparse.SUPPRESS
    belongs_to: tuple[str, ...] = ()
    keyword: str = ""

    @property
    def key(self) -> str:
        """By which it is found in what was given."""
        return self.long.lstrip("-").replace("-", "_")

    @property
    def long(self) -> str:
        """Its name, the longer one of two."""
        return self.name.split("/")[-1]

    @property
    def forwarded_as(self) -> str:
        """Its keyword of the function that it is forwarded to."""
        return self.keyword or self.key

    @property
    def named(self) -> bool:
        """Whether it is an option."""
        return self.name.startswith("-")

    @property
    def usage(self) -> str:
        """How it stands in a usage line."""
        if self.named:
            return f"{self.name.split('/')[0]} {self.kind.metavar or self.key.upper()}"
        forms = {None: "{0}", "+": "{0} [{0} ...]", "*": "[{0} ...]", "?": "[{0}]"}
        return forms[self.words].format(self.kind.metavar or self.key)

    @property
    def reads(self) -> bool:
        """Whether words of it may name files that are read."""
        return not self.kind.writes and (self.kind.may_name_files or not self.named)

    def add_to(self, group: Any) -> None:
        """Declare it to a parser of argparse, or to a group of one."""
        kind, about = self.kind, self.about
        if kind.choices and not kind.metavar and len(words := ", ".join(map(str, kind.choices))) > _LONG:
            about = f"{about}; one of {words}" if about else f"one of {words}"
            kind = replace(kind, metavar="NAME")
        how: dict[str, Any] = {"help": about.replace("%", "%%"), "default": self.default}
        if self.named:
            how |= {"dest": self.key, "required": self.required}
        if self.flag is not None:
            how |= {"action": "store_const", "const": self.flag}
        else:
            how |= {"type": _readable(kind.read), "choices": kind.choices, "metavar": kind.metavar}
            how |= {"nargs": len(kind.metavar) if isinstance(kind.metavar, tuple) else self.words}
            how |= {"action": "append"} if self.repeat else {}
        group.add_argument(*self.name.split("/"), **how)


@dataclass(frozen=True)
class Group:
    """Arguments under a heading of their own.

    Parameters
    ----------
    title : str
    arguments : tuple of Argument
    about : str
        A sentence below the heading.
    only_one : {"may", "must"}, optional
        Whether they exclude each other, and one of them has to be given.
    """

    title: str
    arguments: tuple[Argument, ...]
    about: str = ""
    only_one: Literal["may", "must"] | None = None

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Declare all of them to a parser of argparse."""
        group: Any = parser.add_argument_group(self.title, filled(self.about) or None)
        if self.only_one:
            group = group.add_mutually_exclusive_group(required=self.only_one == "must")
        for each in self.arguments:
            each.add_to(group)


Table = tuple[Argument | Group, ...]
Run = Callable[[Given], int]


@dataclass(frozen=True)
class Command:
    """A command: what help pages say of it, what it takes, and what it does.

    Parameters
    ----------
    name : str
    summary : str
        One line, without a capital and a full stop.
    example : str
    table : tuple of Argument and Group, or a function that returns it
        A function is called where the command is asked for, so that ``sobolevflow --help`` stays fast.
    run : callable
        Takes what was given, prints, and returns the exit code.
    details : str
        What its own help page says after the summary.
    """

    name: str
    summary: str
    example: str
    table: Table | Callable[[], Table]
    run: Run
    details: str = ""

    @property
    def arguments(self) -> Table:
        """What it takes."""
        return self.table() if callable(self.table) else self.table

    def read_by(self, given: Given) -> Iterator[str]:
        """The words among what was given that may name files it reads."""
        for each in arguments_of(self.arguments):
            if each.reads and each.key in given:
                yield from words_in(given[each.key])

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Declare all that it takes to its parser, and what the help page says around."""
        table = self.arguments
        parser.usage = filled(f"{parser.prog} {_usage(table)}", len("usage: ")).replace("%", "%%")
        parser.description = filled(f"{self.summary[0].upper()}{self.summary[1:]}. {self.details}")
        parser.epilog = f"example:\n{_as_shell(self.example)}"
        self._check_names(table)
        for each in table:
            each.add_to(parser)

    def _check_names(self, table: Table) -> None:
        """InputError where two are found by one name, as what another program entered may be."""
        # with those that it belongs to
        taken: dict[str, tuple[str, ...]] = {"command": (), "help": (), WORDS: ()}
        for each in arguments_of(table):
            if each.key in taken:
                owners = each.belongs_to or taken[each.key]
                of = f" of {' and '.join(owners)}" if owners else ""
                raise InputError(
                    f"{each.long}{of} is called like something else that {self.name} takes; rename what was "
                    "entered by that name"
                )
            taken[each.key] = each.belongs_to


COMMANDS: dict[str, Command] = {}


def command(
    name: str, summary: str, example: str, table: Table | Callable[[], Table], details: str = ""
) -> Callable[[Run], Run]:
    """Decorator that enters a function as a command; the parameters are those of `Command`."""

    def enter(run: Run) -> Run:
        COMMANDS[name] = Command(name, summary, example, table, run, details)
        return run

    return enter


def arguments_of(table: Iterable[Argument | Group]) -> Iterator[Argument]:
    """All arguments, without their headings."""
    for each in table:
        yield from each.arguments if isinstance(each, Group) else (each,)


def keywords(given: Given, table: Iterable[Argument | Group]) -> dict[str, Any]:
    """Those of some arguments that were given, as keyword arguments of the function they are for."""
    return {each.forwarded_as: given[each.key] for each in arguments_of(table) if each.key in given}


def check_belongs(given: Given, table: Iterable[Argument | Group], what: str, chosen: str) -> None:
    """Complain about arguments that do not belong to what was chosen.

    Parameters
    ----------
    what
        Before the choices in the message, such as ``"--filter "``.
    chosen
        One of those choices.
    """
    arguments = tuple(arguments_of(table))
    for each in arguments:
        if each.key in given and each.belongs_to and chosen not in each.belongs_to:
            own = ", ".join(other.long for other in arguments if chosen in other.belongs_to)
            raise InputError(
                f"{each.long} belongs to {what}{' or '.join(each.belongs_to)}, not to {chosen}"
                + (f"; {chosen} has {own}" if own else "")
            )


def from_option(option: Option, belongs_to: tuple[str, ...] = ()) -> Argument:
    """The argument for a keyword that a class states by `sobolevflow.named`."""
    kind = of_kind(option.kind, option.choices)
    name = f"--{option.name.replace('_', '-')}"
    return Argument(name, option.about, kind, belongs_to=belongs_to, keyword=option.keyword)


def filled(text: str, indent: int = 0, end: str = "") -> str:
    """A paragraph as wide as the terminal; its lines but the first are indented, but the last have an end."""
    width = max(shutil.get_terminal_size().columns - 4 - indent - len(end), 11)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return f"{end}\n{indent * ' '}".join(lines)


def words_in(value: Any) -> Iterator[str]:
    """All words in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from words_in(each)


def _as_shell(line: str) -> str:
    """A command line as wide as the terminal, its lines joined as a shell joins them."""
    glued = re.sub(r'"[^"]*"|--?[\w-]+ (?!-)', lambda words: words[0].replace(" ", "\0"), line)
    return "  " + filled(glued, 6, end=" \\").replace("\0", " ")


def _usage(table: Table) -> str:
    """What has to be written; the rest is listed below."""
    arguments = tuple(arguments_of(table))
    words = [each.usage for each in arguments if not each.named]
    groups = [each for each in table if isinstance(each, Group) and each.only_one == "must"]
    one_of = [group.title.upper() for group in groups]
    options = [each.usage for each in arguments if each.required]
    return " ".join([*words, *one_of, *options, "[OPTION ...]"])


def _readable(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """As argparse wants it, which keeps the sentence of its own errors alone."""

    def parse(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse
