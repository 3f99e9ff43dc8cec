"""Class names: read them, find one of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError, InputFileError, UnknownNameError, did_you_mean

_MOST_LISTED = 20  # class names that an error message may spell out


def read_labels(labels: Sequence[str] | str | os.PathLike[str]) -> list[str]:
    """Class names from a sequence, or from a text file with one name a line.

    Raises
    ------
    InputError
        The file cannot be read, is not text, or is empty.
    """
    if not isinstance(labels, (str, os.PathLike)):
        if not isinstance(labels, Sequence):
            raise InputError(f"labels must be a sequence of names or a file of them, not {labels!r}")
        return [str(label) for label in labels]
    path = Path(labels)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputFileError(f"labels file {path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputFileError(f"labels file {path}: not a text file in UTF-8") from None
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise InputFileError(f"labels file {path}: is empty")
    return names


def find_label(name: str, labels: Sequence[str]) -> int:
    """Position of the label that is `name`, or has it among its comma-separated synonyms, in any case.

    Raises
    ------
    UnknownNameError
        No label matches, or more than one does.
    """
    wanted = name.strip().casefold()
    matches = [k for k, label in enumerate(labels) if wanted in _names(label)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        found = ", ".join(f"{k} ({labels[k]})" for k in matches)
        raise UnknownNameError(f"class {name!r} is ambiguous: {found}; give the index")
    synonyms = [part for label in labels for part in _synonyms(label)]
    raise UnknownNameError(f"no class {name!r}.{did_you_mean(name, synonyms) or _listing(labels)}")


def _listing(labels: Sequence[str]) -> str:
    if len(labels) <= _MOST_LISTED:
        return f" There are: {', '.join(labels)}"
    return f" The {len(labels)} names are in net.labels, or in 'sobolevflow inspect --json'"


def _synonyms(label: str) -> list[str]:
    return [part.strip() for part in label.split(",")]


def _names(label: str) -> set[str]:
    return {label.strip().casefold(), *(part.casefold() for part in _synonyms(label))}
