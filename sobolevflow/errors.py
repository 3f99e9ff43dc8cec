"""Every error that sobolevflow raises on purpose, and every warning that it gives.

A message names the thing, the cause and the remedy, in that order, so that it can be shown
to a user as it stands. All errors derive from `SobolevflowError`; where the standard
library has a class for the same mistake the error derives from that too, so that
``except ValueError`` keeps working for people who never heard of us.

What can go on, but on an assumption, is said by a warning, `AssumptionWarning`; what means something else
than in the version before, by a `ChangedWarning`. The command line prints both as notes.

As text all of them are one line that may be printed, of 400 characters at most: names that would make it
longer lose their middle. `Told.full` has everything.
"""

from __future__ import annotations

import difflib
import re
import shlex
import sys
import warnings
from collections.abc import Iterable
from threading import Lock
from typing import Literal

from .text import escaped, one_line, pieces, printable


class Told:
    """What errors and warnings have in common: how they are printed."""

    @property
    def full(self) -> str:
        """The whole message, with names as they are, however long it is and whatever is in them."""
        return super().__str__()

    def __str__(self) -> str:
        return one_line(self.full)


class SobolevflowError(Told, Exception):
    """Base class of all errors raised by sobolevflow."""


class RuntimeMissingError(SobolevflowError, ImportError):
    """What computes is not installed: onnxruntime, the execution provider asked for, or CuPy."""


class ModelError(SobolevflowError):
    """A model file cannot be read, is not valid, or cannot be run."""


class UnsupportedOpError(ModelError):
    """A node on the path from the image to the objective has no gradient rule."""


class LimitError(ModelError):
    """A model asks for more than the limits for models of strangers allow, `Limits`.

    ``spent`` says whether a run went on until it was too much, rather than that an estimate was.
    """

    spent: bool = False


class UnknownNameError(SobolevflowError, LookupError):
    """A layer, class or filter name that does not exist; the message lists near matches."""


class InputError(SobolevflowError, ValueError):
    """An argument has the wrong type, shape, range or value."""


class MissingInputError(ModelError, InputError):
    """A model takes an input beside the image that was given no value."""


class InputFileError(InputError):
    """A file beside networks and pictures cannot be read: an array, labels, pre-processing."""


class ImageError(SobolevflowError):
    """An image file cannot be read."""


class GradientError(SobolevflowError, ArithmeticError):
    """The gradient is not finite, or is zero everywhere."""


class DownloadError(SobolevflowError):
    """A file cannot be fetched, or is not what it should be."""


class DeviceError(SobolevflowError, RuntimeError):
    """A device cannot be used: it is not there, its driver is too old, or it has failed.

    Where it failed during a descent, ``result`` holds what had been reached when it was last saved.
    """

    result: object = None


class DeviceMemoryError(DeviceError, MemoryError):
    """The memory of a device is used up."""


class OutputError(SobolevflowError, OSError):
    """A result cannot be written where it was asked to go."""


class OutputNameError(OutputError, InputError):
    """A result is to have a name that says no format, or that a folder has."""


class AssumptionWarning(Told, UserWarning):
    """Something was assumed of a file or an array that it does not say; the message names what says it."""


class ChangedWarning(Told, FutureWarning):
    """What is called means something else than in the version before; the message names what to write."""


def warn(message: str, category: type[Warning] = AssumptionWarning) -> None:
    """Give a warning, at the line outside of this package that made the call; Python shows it once a line."""
    package, level, frame = f"{__package__}.", 1, sys._getframe()
    while frame.f_back is not None and f"{frame.f_globals.get('__name__', '')}.".startswith(package):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def warn_once(message: str, category: type[Warning] = AssumptionWarning) -> None:
    """As `warn`, but each message once in the life of the process, from whatever line it comes."""
    with _SAYING:
        said = message in _SAID
        _SAID.add(message)
    if not said:
        warn(message, category)


_SAID: set[str] = set()
_SAYING = Lock()


def near_matches(name: str, known: Iterable[str], *, limit: int = 5) -> list[str]:
    """The known names most like `name`, best first: substring matches, then edit distance."""
    known = list(known)
    wanted = name.casefold()
    containing = [k for k in known if wanted and wanted in k.casefold()]
    by_fold = {k.casefold(): k for k in known}
    similar = [by_fold[m] for m in difflib.get_close_matches(wanted, by_fold, n=limit, cutoff=0.5)]
    return list(dict.fromkeys(containing + similar))[:limit]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence to append to an error: near matches of `name`, or nothing."""
    matches = near_matches(name, known)
    return f" Did you mean {', '.join(repr(m) for m in matches)}?" if matches else ""


def as_option(name: str, value: str) -> str:
    """An option and its value as a shell takes them, for a message: quoted where that is needed."""
    quoted = shlex.quote(value) if printable(value) == value else _in_escapes(value)
    return f"--{name}={quoted}" if value.startswith("-") else f"--{name} {quoted}"


def _in_escapes(value: str) -> str:
    r"""A word with line ends, tabs or other characters that are not printed, for shells: ``$'new\nline'``."""
    parts = (
        re.sub(r"[\\']", r"\\\g<0>", piece) if plain else "".join(map(_for_a_shell, piece))
        for piece, plain in pieces(value)
    )
    return "$'" + "".join(parts) + "'"


def _for_a_shell(character: str) -> str:
    r"""As shells read it within ``$''``, where \x is a byte."""
    code = ord(character)
    if code < 0x80:
        return escaped(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a path that is not in UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def how_to_install(extra: Literal["cpu", "cuda13", "cuda12"]) -> str:
    """The command that installs what computes, by one of the package's extras, for a message."""
    named = {each: f'"{_origin()}[{each}]"' for each in ("cpu", "cuda13", "cuda12")}
    instead = {
        "cpu": f", or for NVIDIA {named['cuda13']} or {named['cuda12']}",
        "cuda13": f", or {named['cuda12']} where the driver is older",
        "cuda12": "",
    }
    return f"pip install {named[extra]}{instead[extra]}"


def _origin() -> str:
    """The wheel or folder that this package was installed from, as PEP 610 has it; else its name."""
    import json
    from importlib import metadata
    from pathlib import Path
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        recorded = metadata.distribution("sobolevflow").read_text("direct_url.json")
        url = urlsplit(json.loads(recorded)["url"]) if recorded else None
    except (
        metadata.PackageNotFoundError,
        ValueError,
        KeyError,
        TypeError,
    ):  # not installed, or not as it says
        return "sobolevflow"
    if url is None or url.scheme != "file":
        return "sobolevflow"
    path = url2pathname(url.path)
    return path if Path(path).exists() else "sobolevflow"
