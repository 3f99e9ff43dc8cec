"""Which of K_f, K_e: from options to a scheme."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..named import Named, member, members
from .operators import DEFAULT, operator, operators, options
from .options import Argument, Given, Group
from .types import NUMBER, one_of

if TYPE_CHECKING:
    from ..schemes import Scheme

# The schemes that are made of filters, and where those stand in them.
_PLACES = {"fluid": ("K_f",), "elastic": ("K_e",), "fluid-elastic": ("K_f", "K_e")}

_SCHEME = Argument("--scheme", "which of K_f, K_e", one_of(*_PLACES, "tv", "none"))

_FILTER = Argument("--filter", "family of K_f and K_e")

_TV_WEIGHT = Argument(
    "--tv-weight",
    "of one proximal TV step, in the unit of the image (default: 0.01); implies --scheme tv",
    NUMBER,
)

_PENALTY_WEIGHT = Argument("--penalty-weight", "of the penalty, relative to the objective", NUMBER)

NATURAL_COLOUR = Argument(
    "--natural-colour", "K_f gives updates the covariance of natural colours", flag=True
)


def scheme_group(gamma: int, *more: Argument) -> Group:
    """The options of a scheme, where the default has that gamma at 224 pixels."""
    offered = _offered()
    alone = [
        f"{name}: {places[0]} alone, --scheme {_that_fits(entry)}"
        for name, entry in offered.items()
        if len(places := _places(entry)) == 1
    ]
    about = "; ".join([_FILTER.about, *alone])
    family = replace(_FILTER, about=about, kind=one_of(*offered))
    return Group(
        "scheme",
        (_SCHEME, family, *_of_filters(), _TV_WEIGHT, _penalty(), _PENALTY_WEIGHT, *more),
        "u <- K_e * (u - tau * (K_f * grad D(u))) "
        f"(default: fluid, Sobolev of gamma {gamma} at 224 pixels, natural colours)",
    )


_NAMING = frozenset(("scheme", "tv_weight", "penalty", "penalty_weight"))  # that ask for another scheme


def scheme(given: Given, default: str, channels: int) -> dict[str, Any]:
    """The scheme asked for, as parameters of a descent: none where the library's default is to be used.

    Parameters
    ----------
    given : Given
    default : str
        The scheme of the paper's settings.
    channels : int
        Of the image.

    Returns
    -------
    dict
        A filter alone takes the place of the one in the natural recipe, and nothing else changes; a scheme
        comes with the paper's settings unless another recipe was asked for.
    """
    filter_options = [option for option in (_FILTER, *_of_filters()) if option.key in given]
    if not filter_options and not (_NAMING | {"natural_colour"}) & given.keys():
        return {}
    alone = _NAMING.isdisjoint(given) and given.get("recipe") != "paper" and _fits(_chosen(given), "fluid")
    if alone and not filter_options:  # its colours are natural as it is
        return {}
    made = _with_penalty(_named_scheme(given, "fluid" if alone else default, filter_options), given)
    if "natural_colour" in given or (alone and channels == 3):
        made = _in_natural_colours(made)
    return {"scheme": made, "recipe": "natural"} if alone else {"scheme": made}


def _in_natural_colours(made: Scheme) -> Scheme:
    from ..filters import Identity
    from ..maps import NaturalColour

    plain = isinstance(made.K_f, Identity)
    return replace(made, K_f=NaturalColour() if plain else NaturalColour() @ made.K_f)


def said_of_settings(given: Given) -> list[str]:
    """A note where a scheme has brought the paper's settings along."""
    if "scheme" not in given or "recipe" in given:
        return []
    return [
        "with --scheme, what is left open is as in the paper: long steps, no momentum, little jitter "
        "(--recipe natural: as without --scheme)"
    ]


def _penalty() -> Argument:
    about = "explicit penalty on the image, eq. (5), with --penalty-weight; alone it implies --scheme none"
    return Argument("--penalty", about, one_of(*members("penalty")))


def _with_penalty(made: Scheme, given: Given) -> Scheme:
    name, weight = given.get("penalty"), given.get("penalty_weight")
    if (name is None) != (weight is None):
        raise InputError("--penalty NAME and --penalty-weight X are given together")
    return made if name is None else replace(made, penalty=member("penalty", name).make(weight))


def _named_scheme(given: Given, default: str, filter_options: list[Argument]) -> Scheme:
    from .. import schemes

    entry = _chosen(given)
    fitting = default if _fits(entry, default) else _that_fits(entry)
    if "penalty" in given and not filter_options:
        fitting = "none"
    name = given.get("scheme", "tv" if "tv_weight" in given else fitting)
    if "tv_weight" in given and name != "tv":
        raise InputError(f"--tv-weight belongs to --scheme tv, not to --scheme {name}")
    if name not in _PLACES and filter_options:
        left = ", ".join(option.long for option in filter_options)
        raise InputError(f"--scheme {name} has no filter; leave out {left}")
    if name == "tv":
        return schemes.proximal_tv(given.get("tv_weight", 0.01))
    if name == "none":
        return schemes.gradient_descent()
    if not _fits(entry, name):
        of = "the image, not the update" if _places(entry) == ("K_e",) else "the update, not the image"
        raise InputError(f"--filter {entry.name} smooths {of}; use --scheme {_that_fits(entry)}")
    make = {"fluid": schemes.fluid, "elastic": schemes.elastic, "fluid-elastic": schemes.fluid_elastic}
    return make[name](operator(entry, _of_filters(), given))


def _offered() -> dict[str, Named]:
    """The operators for the place of K_f, of K_e, or both."""
    return operators("K_f") | operators("K_e")


def _of_filters() -> tuple[Argument, ...]:
    return options(_offered(), only="in_scheme")


def _chosen(given: Given) -> Named:
    """The filter that was named, or else the first whose strength was given."""
    offered = _offered()
    if "filter" in given:
        return offered[given["filter"]]
    by_strength = [entry for entry in offered.values() if entry.facts.get("strength") in given]
    return by_strength[0] if by_strength else offered[DEFAULT]


def _places(entry: Named) -> tuple[str, ...]:
    return tuple(place for place in _PLACES["fluid-elastic"] if place in entry.facts["places"])


def _fits(entry: Named, name: str) -> bool:
    """Whether an operator can stand wherever a scheme has one."""
    return set(_PLACES.get(name, ())) <= set(_places(entry))


def _that_fits(entry: Named) -> str:
    """The scheme that an operator can stand in."""
    return next(name for name in _PLACES if _fits(entry, name))
