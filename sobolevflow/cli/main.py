"""The ``sobolevflow`` command itself: the list of commands, exit codes, interrupts.

Results go to the standard output, progress, notes and errors to the standard error. Exit code 0
is success, 1 a failure, 2 wrong usage, 130 a run ended by Ctrl-C (with what there was saved).
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from .._version import __version__
from ..errors import AssumptionWarning, ChangedWarning, InputError, SobolevflowError, UnknownNameError
from .options import COMMANDS, Command, Given
from .printing import FAILED, INTERRUPTED, OK, USAGE, say, say_error, say_notes

FILES = {
    "demo": "demo",
    "inspect": "inspect",
    "visualize": "descend",
    "invert": "descend",
    "gradient": "gradient",
    "attribute": "attribute",
    "filter": "filter",
    "experiment": "experiment",
    "bench": "bench",
    "doctor": "doctor",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        given = vars(build_parser(words[0] if words else "").parse_args(words))
        run = given.pop("run")
        with _warnings_as_notes(given):
            return int(run(given))
    except (InputError, UnknownNameError) as error:
        say_error(error)
        return USAGE
    except SobolevflowError as error:
        say_error(error)
        return FAILED
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


@contextmanager
def _warnings_as_notes(given: Given) -> Iterator[None]:
    """The package's own warnings as notes, each once, none with --quiet; others as Python has it."""
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, (AssumptionWarning, ChangedWarning)):
            usual(message, category, *where, **more)
        elif "quiet" not in given and str(message) not in said:
            said.add(str(message))
            say_notes([str(message)])

    with warnings.catch_warnings():
        usual = warnings.showwarning
        warnings.showwarning = show
        for category in (AssumptionWarning, ChangedWarning):
            warnings.simplefilter("always", category)
        yield


def build_parser(asked: str = "") -> argparse.ArgumentParser:
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


class _Parser(argparse.ArgumentParser):
    """A parser that answers wrong usage in one line, without a page of options before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message}; see '{self.prog} --help'\n")


class _CommandParser(_Parser):
    """The parser of a command, which declares what that takes when it is asked to parse."""

    def __init__(self, command: Command, **how: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **how)
        self.set_defaults(run=command.run)
        self._command: Command | None = command
        self._negative_number_matcher = re.compile(r"-\.?\d")  # as in -1000:1000; no option is a number

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        command, self._command = self._command, None
        if command is not None:
            command.add_to(self)
        return super().parse_known_args(args, namespace)
