"""Objectives to and from the dictionaries that a run's manifest holds as JSON."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from ..arrays import borrow_numbers, fingerprint, to_host
from ..errors import InputError
from ..named import by_class
from .base import Combination, Leaf, Objective

Find = Callable[[str, Mapping[str, Any]], np.ndarray]
"""From what an array is, for messages, and its fingerprint to the array."""


def from_dict(data: Mapping[str, Any], arrays: Find) -> Objective:
    """The objective that `Objective.to_dict` described.

    Parameters
    ----------
    data : mapping
    arrays : callable
        Finds its arrays, of which the description has the fingerprints.

    Raises
    ------
    InputError
        It is no description, or that of an objective that is not known by its name.
    """
    name = data.get("type")
    if name == "Combination":
        terms = tuple((float(each["weight"]), from_dict(each["objective"], arrays)) for each in data["terms"])
        return Combination(terms, data["maximize"])
    cls = _leaf(str(name))
    if cls is None:
        raise InputError(f"there is no objective {name!r}, so that it cannot be made from its description")
    own = {each.name: each for each in fields(cls)}  # type: ignore[arg-type]  # a leaf is a dataclass
    values = {key: value for key, value in data.items() if key in own}
    for key, value in values.items():
        if "array" in own[key].metadata and isinstance(value, Mapping):
            values[key] = arrays(f"{key} of {name}", value)
    return cls(**values)


def arrays_of(objective: Objective) -> dict[str, np.ndarray]:
    """The arrays of an objective by the SHA-256 of their values."""
    found = (to_host(borrow_numbers(each)) for each in _arrays(objective))
    return {fingerprint(each)["sha256"]: each for each in found}


def _arrays(objective: Objective) -> Iterator[Any]:
    for leaf in objective.leaves():
        for each in fields(leaf):  # type: ignore[arg-type]  # a leaf is a dataclass
            if "array" in each.metadata and getattr(leaf, each.name) is not None:
                yield getattr(leaf, each.name)


def _leaf(name: str) -> type[Leaf] | None:
    """The elementary objective of that class, of this package or entered by `named`."""
    entry = by_class("objective", name)
    room = importlib.import_module(__package__)
    cls = getattr(room, name, None) if entry is None and name in room.__all__ else entry and entry.make
    return cls if isinstance(cls, type) and issubclass(cls, Leaf) else None
