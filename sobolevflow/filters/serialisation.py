"""Filters to and from the dictionaries that a run's manifest holds as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import checks
from ..errors import InputError, UnknownNameError, did_you_mean
from ..named import members
from .algebra import Combination, Composition, Filter


def from_dict(data: Mapping[str, Any]) -> Filter:
    """The filter that `Filter.to_dict` wrote.

    Parameters
    ----------
    data
        ``{"filter": name, ...}`` with the parameters of that filter, all of which may be left out.

    Raises
    ------
    UnknownNameError
        If there is no filter of that name.
    InputError
        If the name is missing, or a parameter is not one of that filter or has a bad value.

    Examples
    --------
    >>> from_dict({"filter": "Sobolev", "size": 11}) == Sobolev(size=11)
    True
    """
    if not isinstance(data, Mapping):
        checks.refuse(data, "data", "a dictionary as Filter.to_dict writes it")
    parameters = dict(data)
    name = parameters.pop("filter", None)
    if not isinstance(name, str):
        raise InputError(f"{checks.shown(data)} is no filter: it lacks the key 'filter' with a name.")
    try:
        if name == "Composition":
            return Composition(tuple(from_dict(factor) for factor in parameters["factors"]))
        if name == "Combination":
            return Combination(tuple(_weighted_term(term) for term in parameters["terms"]))
        if name in (families := _families()):
            return families[name](**parameters)
    except (KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{checks.shown(data)} is not a filter: {error}.") from error
    known = (*families, "Composition", "Combination")
    raise UnknownNameError(
        f"there is no filter {name!r}; known are {', '.join(known)}.{did_you_mean(name, known)}"
    )


def _families() -> dict[str, type[Filter]]:
    """The filters that have been entered, by the name that `Filter.to_dict` gives them."""
    made = (entry.make for entry in members("operator").values())
    return {cls.__name__: cls for cls in made if isinstance(cls, type) and issubclass(cls, Filter)}


def _weighted_term(term: Mapping[str, Any]) -> tuple[float, Filter]:
    if not isinstance(term, Mapping):
        checks.refuse(term, "a term", "a dictionary with a weight and a filter")
    rest = dict(term)
    weight = rest.pop("weight")
    if not checks.is_number(weight):
        checks.refuse(weight, "a filter's weight", "a finite number")
    return float(weight), from_dict(rest)
