"""Where results go: into regular files, whole or not at all, and never into a file that the run reads.

One rule for all that is written, `destination`: a link is written through, to the file that it points to; a
folder, a pipe, a device or a write-protected file is refused, and so is an input, however its path is
spelled. `check_output` asks about it before the work, `write_bytes` once more when it is done.
"""

from __future__ import annotations

import os
import stat
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from ..errors import OutputError, OutputNameError
from .inputs import what_else

Name = str | os.PathLike[str]

_Identity = tuple[int, int]  # of the device, and of the file on it

_kept: ContextVar[frozenset[_Identity]] = ContextVar("_kept", default=frozenset())


@contextmanager
def keeping(paths: Iterable[Name]) -> Iterator[None]:
    """While it lasts, no result goes into one of these files; paths of what is none are passed over."""
    before = _kept.set(_kept.get() | _identities(paths))
    try:
        yield
    finally:
        _kept.reset(before)


def keep(paths: Iterable[Name]) -> None:
    """Keep more files, as far as `keeping` lasts."""
    _kept.set(_kept.get() | _identities(paths))


def destination(path: Name, inputs: Iterable[Name] = ()) -> Path:
    """The file that is written where a result is to have the name `path`: of a link, what it points to.

    Parameters
    ----------
    path : path
    inputs : paths
        Files that are read, beside those of `keeping`.

    Raises
    ------
    OutputNameError
        It is a folder, a pipe or a device, or one of the inputs.
    OutputError
        It is write-protected, or has an impossible name.
    """
    path = Path(path)
    try:
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        found = os.stat(target)
    except FileNotFoundError:
        return target
    except ValueError:  # a null character, or one that no file's name has
        raise OutputNameError(f"{str(path)!r} is no name of a file; choose another.") from None
    except OSError as error:
        raise not_written(path, error) from None
    if stat.S_ISDIR(found.st_mode):
        raise OutputNameError(f"{str(path)!r} is a folder; name a file inside it.")
    if other := what_else(found.st_mode):
        raise OutputNameError(f"{str(path)!r} {other}; a result is written to a file.")
    if (found.st_dev, found.st_ino) in _kept.get() | _identities(inputs):
        raise OutputNameError(
            f"{str(path)!r} is one of the inputs and would be overwritten; write elsewhere."
        )
    if not os.access(target, os.W_OK):
        raise OutputError(f"{str(path)!r} is write-protected; choose another place.")
    return target


def check_output(path: Name, endings: Sequence[str] = (), inputs: Iterable[Name] = ()) -> Path:
    """Find out, before hours of work, whether a result can be written to `path`.

    Parameters
    ----------
    path : path
        The file to be written later. Nothing is left behind at or beside it.
    endings : sequence of str
        Those that a name may have, with their dots, in lower case; empty for any.
    inputs : paths
        As of `destination`.

    Returns
    -------
    Path
        The same path.

    Raises
    ------
    OutputNameError
        The ending does not say what is written, or as `destination`.
    OutputError
        The folder is absent or not writable, or as `destination`.
    """
    path = Path(path)
    if endings and path.suffix.lower() not in endings:
        raise OutputNameError(
            f"{str(path)!r} has no known ending, so its format is unclear; use one of {' '.join(endings)}."
        )
    target = destination(path, inputs)
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise not_written(path, error) from None
    return path


def check_apart(paths: Iterable[Name]) -> None:
    """Find out, before hours of work, whether several results go into files of their own.

    Raises
    ------
    OutputNameError
        Two have one file, through a link or in a folder that does not tell small letters from capitals.
    """
    taken: dict[tuple[_Identity | str, str], Path] = {}
    for path in map(Path, paths):
        place = _place(destination(path))
        if place in taken:
            raise OutputNameError(
                f"{str(taken[place])!r} and {str(path)!r} would be written to one file; rename one of them."
            )
        taken[place] = path


def write_bytes(path: Name, content: bytes) -> Path:
    """Write a file whole or not at all: into a temporary neighbour first, which then takes the name.

    What is there already keeps its permissions.

    Raises
    ------
    OutputError
        The folder is absent or not writable, or the disk is full; no partial file remains. Or as
        `destination`.
    """
    path = Path(path)
    target = destination(path)
    # a name of its own, since one with more in it than the target's may be too long
    temporary = target.with_name(f".sobolevflow-{os.urandom(8).hex()}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        with suppress(FileNotFoundError, PermissionError):
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise not_written(path, error) from None
    except BaseException:  # Ctrl-C in the middle of a write
        temporary.unlink(missing_ok=True)
        raise
    return path


def make_folder(path: Name) -> Path:
    """Make a folder and those above it, unless they are there.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except ValueError:
        raise OutputNameError(f"{str(folder)!r} is no name of a folder; choose another.") from None
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from None
    return folder


def is_folder(path: str) -> bool:
    """Whether a path is that of a folder, or is written like one, with a slash at its end."""
    return Path(path).is_dir() or path.endswith(tuple(filter(None, (os.sep, os.altsep))))


def not_written(path: Path, error: OSError) -> OutputError:
    """What is said where a file cannot be written."""
    with suppress(OSError, ValueError):
        if not path.parent.exists():
            return OutputError(
                f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}; create it."
            )
    return OutputError(f"{str(path)!r} cannot be written: {error.strerror or error}. Choose another place.")


def _identities(paths: Iterable[Name]) -> frozenset[_Identity]:
    found = set()
    for path in paths:
        with suppress(OSError, ValueError):
            about = os.stat(path)
            found.add((about.st_dev, about.st_ino))
    return frozenset(found)


def _place(target: Path) -> tuple[_Identity | str, str]:
    """What two paths of one file have in common, also where there is no file yet: folder and name."""
    folder = Path(os.path.realpath(target.parent))
    with suppress(OSError):
        about = os.stat(folder)
        blind = _is_same(folder, str(folder).swapcase())
        name = unicodedata.normalize("NFC", target.name).casefold() if blind else target.name
        return (about.st_dev, about.st_ino), name
    return str(folder), target.name


def _is_same(folder: Path, other: str) -> bool:
    """Whether a folder is found under another path too."""
    with suppress(OSError):
        return str(folder) != other and os.path.samefile(folder, other)
    return False
