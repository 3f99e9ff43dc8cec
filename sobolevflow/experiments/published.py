"""The settings of the paper (arXiv:1805.00071, Section 3), each as printed and in normalised form.

The paper prints tau without saying what its gradients are divided by, and in the unit of each network's own
input. *As printed* takes it at its word: raw gradients, tau in the network's unit. *Normalised* divides every
gradient by its mean absolute value and counts tau in grey levels, as the sources of the paper's jitter and
octaves do; that is the form in which one tau serves all networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..descent import GREY_LEVEL, Octave
from ..errors import UnknownNameError, did_you_mean
from ..filters import Sobolev
from ..maps import NaturalColour
from ..network import Network
from ..schemes import fluid_elastic
from .demo import schemes
from .recipes import Recipe

Form = Literal["normalised", "printed"]
FORMS = ("octaves", "plain")  # of Figure 2
SCALES = (1.0, 1.1, 1.2)  # of Figure 2's octaves


@dataclass(frozen=True)
class Published:
    """One experiment of the paper.

    Parameters
    ----------
    name : str
        ``figure2/vgg19/octaves``; the printed form ends in ``/printed``.
    network : str
        The network that the paper shows.
    recipe : Recipe
        With fluid-elastic Sobolev demons; `recipes_for` has the others.
    size : int
        Of the filters, in pixels.
    layers : tuple of str
        What is inverted, by the names of Keras (`find_layer`); empty where classes are maximised.
    form : {"normalised", "printed"}
        Whether `recipe` holds tau in the unit of the image, or as printed, in that of the network's input.
    """

    name: str
    network: str
    recipe: Recipe
    size: int
    layers: tuple[str, ...] = ()
    form: Form = "normalised"

    def recipes_for(self, net: Network) -> dict[str, Recipe]:
        """The recipe with each of the seven schemes of Figure 1; tau in the unit of the image."""
        variants = {name: self.recipe.but(scheme=scheme) for name, scheme in schemes(self.size).items()}
        if self.form == "normalised":
            return variants
        return {name: in_units_of(net, recipe) for name, recipe in variants.items()}

    def summary(self) -> dict[str, object]:
        """A line for the list of recipes."""
        recipe = self.recipe
        parts = recipe.own_octaves or (Octave(1.0, recipe.steps, recipe.tau),)
        unit = 1.0 if self.form == "printed" else GREY_LEVEL
        return {
            "recipe": self.name,
            "network": self.network,
            "layers": ", ".join(self.layers),
            "filter": f"{self.size} x {self.size}",
            "scales": ", ".join(f"{each.scale:g}" for each in parts),
            "steps": ", ".join(str(each.steps) for each in parts),
            "tau": ", ".join(f"{(each.tau or recipe.tau) / unit:g}" for each in parts),
            "tau_in": "units of the network" if self.form == "printed" else "grey levels",
            "jitter": recipe.jitter,
        }


def in_units_of(net: Network, recipe: Recipe) -> Recipe:
    """A recipe whose tau counts in the unit of a network's input, for the image in [0, 1].

    x = (scale u - mean) / std is what the network takes, so that a step of tau along the gradient by x is one
    of tau (std / scale)^2 along the gradient by u, channel by channel.
    """
    channels = net.input_shape[0]
    matrix, _ = net.preprocess.matrix_and_bias(channels)
    factors = 1 / np.square(np.abs(matrix).max(axis=0))  # of each channel of u
    mean = float(factors.mean())
    own = tuple(replace(o, tau=None if o.tau is None else o.tau * mean) for o in recipe.own_octaves)
    scheme = recipe.scheme
    if np.ptp(factors) > 1e-9 * mean:
        per_channel = NaturalColour(tuple(map(tuple, np.diag(factors / mean).tolist())))
        scheme = replace(scheme, K_f=per_channel @ scheme.K_f)
    return recipe.but(tau=recipe.tau * mean, octaves=own or recipe.octaves, scheme=scheme)


def _both(
    name: str, network: str, recipe: Recipe, size: int, taus: Sequence[float], layers: tuple[str, ...] = ()
) -> tuple[Published, Published]:
    """The normalised form, and the printed one with its own taus."""
    own = recipe.own_octaves
    octaves = tuple(replace(o, tau=tau) for o, tau in zip(own, taus, strict=True)) if own else recipe.octaves
    printed = recipe.but(tau=taus[0], octaves=octaves, normalise=None)
    return (
        Published(name, network, recipe, size, layers),
        Published(f"{name}/printed", network, printed, size, layers, "printed"),
    )


def _demons(size: int, levels: float, steps: int, **more: object) -> Recipe:
    scheme = fluid_elastic(Sobolev(size=size))
    return Recipe(scheme=scheme, tau=levels * GREY_LEVEL, steps=steps, normalise="before", **more)  # type: ignore[arg-type]


def _figure2(network: str, steps: tuple[int, ...], taus: tuple[float, ...]) -> tuple[Published, ...]:
    """With octaves and crops, and without either, where all steps are taken with the first tau."""
    name = f"figure2/{network.lower()}"
    octaves = tuple(
        Octave(scale, count, levels * GREY_LEVEL)
        for scale, count, levels in zip(SCALES, steps, (5, 2, 1), strict=True)
    )
    with_octaves = _demons(9, 5, sum(steps), octaves=octaves, crops="normal", jitter=2)
    return (
        *_both(f"{name}/octaves", network, with_octaves, 9, taus),
        *_both(f"{name}/plain", network, _demons(9, 5, sum(steps)), 9, taus[:1]),
    )


def _table1(network: str, layer: str) -> tuple[Published, ...]:
    return _both(f"table1/{network.lower()}", network, _demons(11, 4, 300), 11, (20.0,), (layer,))


PUBLISHED: dict[str, Published] = {
    each.name: each
    for each in (
        *_both("figure1/vgg19", "VGG19", _demons(11, 5, 160, jitter=2), 11, (5.0,)),
        *_figure2("VGG19", (100, 50, 10), (5.0, 2.0, 1.0)),
        *_figure2("ResNet50", (160, 60, 16), (60.0, 20.0, 5.0)),
        *_figure2("DenseNet121", (100, 60, 8), (5.0, 0.05, 0.02)),
        *_table1("VGG19", "block5_conv1"),
        *_table1("DenseNet121", "conv5_block12_0_bn"),
        *_both(
            "figure4/densenet121",
            "DenseNet121",
            _demons(11, 1, 2000),
            11,
            (1.0,),
            ("conv3_block3_1_bn", "conv5_block12_0_bn"),
        ),
    )
}


def published(name: str) -> Published:
    """The recipe of that name.

    Raises
    ------
    UnknownNameError
        There is none.
    """
    if name not in PUBLISHED:
        raise UnknownNameError(
            f"There is no recipe {name!r}.{did_you_mean(name, PUBLISHED)} 'sobolevflow experiment --list' "
            f"lists them."
        )
    return PUBLISHED[name]


def forms(name: str) -> dict[str, Published]:
    """Both forms of a recipe of Figure 2, named with either or without: ``figure2/vgg19/printed``."""
    stem = "/".join(part for part in name.split("/") if part not in (*FORMS, "printed"))
    ending = "/printed" * name.endswith("/printed")
    return {form: published(f"{stem}/{form}{ending}") for form in FORMS}
