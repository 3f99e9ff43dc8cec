"""The ``sobolevflow`` command itself: the list of commands, exit codes, interrupts.

Results go to the standard output, progress, notes and errors to the standard error. Exit code 0 is success,
or a reader that went away; 2 a call that has to be corrected; 1 a call that was right, and failed; 130 a run
ended by Ctrl-C, with what there was saved, which is 143 after SIGTERM and 129 after SIGHUP (`__main__`). What
fails says so in one line: notes wait until it is out of question.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Any, NoReturn

from .._version import __version__
from ..errors import InputError, InputFileError, SobolevflowError, UnknownNameError
from . import streams
from .options import COMMANDS, WORDS, Command
from .printing import FAILED, INTERRUPTED, OK, USAGE, print_json, say, say_error, told

FILES = {
    "demo": "demo",
    "inspect": "inspect",
    "visualize": "descend",
    "invert": "descend",
    "gradient": "gradient",
    "classify": "classify",
    "attribute": "attribute",
    "filter": "filter",
    "experiment": "experiment",
    "rerun": "rerun",
    "bench": "bench",
    "doctor": "doctor",
}


def main(
    arguments: Sequence[str] | None = None, *, ended_by: Callable[[], str] = lambda: "interrupted"
) -> int:
    """Run the command line; return the exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of this process unless given.
    ended_by : callable
        What is said where a signal has ended it, which is raised as KeyboardInterrupt.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with streams.printable():
        try:
            try:
                return _answered(words, ended_by)
            finally:
                streams.flush()
        except BrokenPipeError:  # the reader of our output went away, as `| head` does
            streams.give_up()
            return OK
        except OSError as error:
            streams.give_up()
            say(f"error: {error.filename or 'the output'} cannot be written: {error.strerror or error}")
            return FAILED


def _answered(words: Sequence[str], ended_by: Callable[[], str]) -> int:
    """Do what is asked for; errors in one line, and as the exit code of their class."""
    given: dict[str, Any] = {}
    try:
        parser = build_parser(words[0] if words else "")
        if not words:
            parser.print_help()
            return OK
        parser.check_options(list(takewhile(lambda word: word.startswith("-"), words)))
        _refuse_dashes(words)
        given = vars(parser.parse_args(words))
        command = given.pop("command")
        given[WORDS] = words
        from ..files import keeping  # only now: the help page needs neither
        from .voice import one_voice

        with one_voice(given), keeping(command.read_by(given)):
            return int(command.run(given))
    except SobolevflowError as error:
        if "json" in given:
            print_json({"error": told(error)})
        say_error(error)
        return exit_code(error)
    except KeyboardInterrupt:
        say(ended_by())
        return INTERRUPTED


def _refuse_dashes(words: Iterable[str]) -> None:
    """InputError where "--" was given as a value, which argparse takes for no value at all."""
    for word in words:
        if re.fullmatch(r"-[^=]*=--", word):
            raise InputError(f"{word.removesuffix('=--')} has no value; '--' is none")


def exit_code(error: SobolevflowError) -> int:
    """Whether the call has to be corrected, or what it asked for failed: see the table in docs/guide.md."""
    in_the_call = isinstance(error, (InputError, UnknownNameError))
    return USAGE if in_the_call and not isinstance(error, InputFileError) else FAILED


def build_parser(asked: str = "") -> _Parser:
    """The parser of the whole command line; of one command alone where that is asked for."""
    for file in dict.fromkeys([FILES[asked]] if asked in FILES else FILES.values()):
        importlib.import_module(f".{file}", __package__)
    parser = _Parser(
        prog="sobolevflow",
        description="Show what a convolutional network has learned, from its ONNX file alone.",
        epilog="Try 'sobolevflow demo', or 'sobolevflow COMMAND --help' for an example of each command.",
    )
    parser.add_argument("--version", action="version", version=f"sobolevflow {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=_CommandParser
    )
    for name in dict.fromkeys((*FILES, *COMMANDS)):
        if name in COMMANDS:
            commands.add_parser(name, help=COMMANDS[name].summary, command=COMMANDS[name])
    return parser


def _meant(word: str, known: Iterable[str]) -> str:
    """What was mistyped, where something is spelled nearly alike; what is merely similar is no help here."""
    words = difflib.get_close_matches(word, list(known), n=3, cutoff=0.7)
    return f" Did you mean {' or '.join(map(repr, words))}?" if words else ""


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help texts in which words that are to be typed, as sobolev-product, stay whole."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class _Parser(argparse.ArgumentParser):
    """A parser that answers wrong usage in one line, with what may have been meant, and no page before it."""

    def error(self, message: str) -> NoReturn:
        say(f"error: {message.rstrip('.')}; see '{self.prog} --help'", self.prog)
        self.exit(USAGE)

    def _print_message(self, message: str, file: Any = None) -> None:
        print(message, end="", file=file)  # argparse would pass over what cannot be written

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = None if action.choices is None else list(map(str, action.choices))
        if choices is not None and value not in action.choices:  # type: ignore[operator]
            what, known = "/".join(action.option_strings) or action.metavar or action.dest, ", ".join(choices)
            self.error(f"{what} is {str(value)!r}; known are {known}.{_meant(str(value), choices)}")

    def check_options(self, words: Sequence[str]) -> None:
        """Complain about what is no option; argparse would first ask for what is missing."""
        known = self._option_string_actions
        for word in takewhile(lambda word: word != "--", words):
            name = word.split("=")[0]
            if re.match("--[A-Za-z]", word) and not any(option.startswith(name) for option in known):
                self.error(f"there is no option {name}.{_meant(name, known)}")


class _CommandParser(_Parser):
    """The parser of a command, which declares what that takes when it is asked to parse."""

    def __init__(self, command: Command, **how: Any) -> None:
        super().__init__(formatter_class=_Help, **how)
        self.set_defaults(command=command)
        self._command: Command | None = command
        self._negative_number_matcher = re.compile(r"-\.?\d")  # as in -1000:1000; no option is a number

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        command, self._command = self._command, None
        if command is not None:
            command.add_to(self)
        self.check_options(args)
        return super().parse_known_args(args, namespace)
