"""Where a network comes from: what `load` or `compose` was given, so that it can be opened again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arrays import fingerprint
from ..errors import InputError

Arrays = Mapping[str, np.ndarray]
"""Arrays by the SHA-256 of their values, as `fingerprint` has it."""


@dataclass(frozen=True)
class Source:
    """Where a network comes from.

    Parameters
    ----------
    path : dict or None
        `place` of its file, or its name, "builtin:shapes-vgg"; None of what is in no file.
    kind : str
        What it was opened from, for messages: "a file", "bytes", "a module".
    options : dict
        JSON-able: the keywords of `load`, with files as `place` has them and arrays by their fingerprints.
    arrays : mapping
        Those of the options, by their SHA-256.
    generator : dict or None
        `place` of the file of a generator in front.
    values : tuple of float, optional
        What that draws black and white as.
    """

    path: dict[str, str] | None
    kind: str
    options: dict[str, Any]
    arrays: Arrays = field(default_factory=dict, repr=False)
    generator: dict[str, str] | None = None
    values: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for the manifest."""
        found = {"path": self.path, "kind": self.kind, **self.options}
        if self.values is not None:
            found |= {"generator": self.generator, "values": list(self.values)}
        return found


def place(path: Any) -> dict[str, str] | None:
    """A path as it was given and from the root; None of what is no path."""
    if not isinstance(path, (str, os.PathLike)):
        return None
    given = os.fsdecode(path)
    if given.startswith("builtin:"):
        return {"given": given}
    return {"given": given, "full": os.path.abspath(given)}


def kind_of(source: Any) -> str:
    """What a source of `load` is, for messages."""
    if isinstance(source, (str, os.PathLike)):
        return "a file"
    return "bytes" if isinstance(source, bytes) else f"an object of the type {type(source).__name__}"


def options_of(
    labels: Any, names: list[str] | None, inputs: Mapping[str, np.ndarray], **plain: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Options of `load` as JSON-able data, and the arrays among them.

    Parameters
    ----------
    labels
        As they were given.
    names : list of str or None
        What the classes are called by them.
    inputs : mapping
        Constant values of the inputs beside the image, as they go in.
    **plain
        The others.
    """
    where = place(labels)
    named = None if labels is None else names if where is None else {**where, "sha256": digest(names)}
    texts = {name: {"text": value.tolist()} for name, value in inputs.items() if value.dtype.kind == "U"}
    arrays = {name: np.asarray(value) for name, value in inputs.items() if name not in texts}
    prints = {name: fingerprint(value) for name, value in arrays.items()}
    found = {"labels": named, "inputs": {**texts, **prints}, **plain}
    return found, {prints[name]["sha256"]: value for name, value in arrays.items()}


def digest(names: list[str] | None) -> str:
    """What identifies class names."""
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def check_same(what: str, recorded: str, found: str) -> None:
    """InputError where something is not what it was."""
    if recorded != found:
        raise InputError(f"{what}: another SHA-256 now, {found}, than it was, {recorded}")
