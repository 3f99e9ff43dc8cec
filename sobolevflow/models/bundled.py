"""The bundled networks, small enough to travel with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from .. import checks
from ..errors import ModelError, UnknownNameError, did_you_mean

BUILTIN: tuple[str, ...] = ("shapes-vgg", "shapes-dense")
"""Names of the bundled networks."""

_PREFIX = "builtin:"


def builtin_or_path(source: Any) -> Any:
    """A source of `sobolevflow.load` with "builtin:NAME" replaced by the file that it means."""
    if isinstance(source, str) and source.startswith(_PREFIX):
        return path(source.removeprefix(_PREFIX))
    return source


def path(name: str) -> Path:
    """Where the file of a bundled network lies.

    Parameters
    ----------
    name : str
        One of `BUILTIN`.

    Returns
    -------
    pathlib.Path
        The ``.onnx`` file in the installed package.

    Raises
    ------
    UnknownNameError
        If no bundled network has this name; the message lists near matches.
    ModelError
        If the file is not where the package was installed.
    """
    if checks.text(name, "a bundled network", "the name of one") not in BUILTIN:
        known = ", ".join(BUILTIN)
        raise UnknownNameError(
            f"No bundled network {name!r}: there are {known}.{did_you_mean(name, BUILTIN)}"
        )
    file = Path(str(files(__package__) / f"{name}.onnx"))
    if not file.is_file():
        raise ModelError(f"{file} is missing: the installation is incomplete, install sobolevflow again.")
    return file
