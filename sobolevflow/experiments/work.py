"""How an experiment is run, whatever it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .. import checks
from ..descent import progress_bar
from ..devices import devices_of
from ..errors import InputError
from ..network import Network
from ..pictures import Pixels
from ..results import model_facts
from .descents import BATCH, Runner
from .folder import Folder
from .layer_names import find_layers
from .recipes import Recipe

CELL = 224  # of a sheet, in pixels, at most


@dataclass(frozen=True)
class Subject:
    """A network with the layers that are to be inverted.

    Parameters
    ----------
    net : Network
    layers : tuple of str
        In the order in which the work is to be done, as `find_layer` and `Network.features` read them; empty
        where classes are maximised.
    """

    net: Network
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.net, Network):
            checks.refuse(self.net, "net", "a network opened by sf.load")
        layers = checks.entries(self.layers, "layers", "a list of names of layers")
        found = [each for layer in layers for each in find_layers(self.net, layer)]
        object.__setattr__(self, "layers", tuple(dict.fromkeys(found)))


@dataclass(frozen=True)
class Work:
    """Where an experiment leaves its results, and the parameters that all experiments share.

    Parameters
    ----------
    folder : Folder
    steps : int, optional
        Instead of those of the recipes; octaves keep their shares.
    batch, seed, device
        As for `Runner`.
    progress : bool
        Show progress on the standard error.
    """

    folder: Folder
    steps: int | None = None
    batch: int = BATCH
    seed: int = 0
    device: str = "cpu"
    progress: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.folder, Folder):
            checks.refuse(self.folder, "folder", "an experiments.Folder")
        if self.steps is not None:
            object.__setattr__(self, "steps", checks.count(self.steps, "steps"))
        object.__setattr__(self, "batch", checks.count(self.batch, "batch"))
        object.__setattr__(self, "seed", checks.count(self.seed, "seed", least=0, most=2**128 - 1))
        object.__setattr__(self, "progress", checks.flag(self.progress, "progress"))
        devices_of(self.device)  # complains

    @contextmanager
    def runner(self, label: str, images: int, sets: int = 1) -> Iterator[Runner]:
        """A runner under a progress bar for `sets` sets of so many images each."""
        batches = sets * -(-images // self.batch)
        with progress_bar(label, batches, self.progress) as done:
            yield Runner(self.folder.store, self.batch, self.seed, self.device, done)

    def adapted(self, recipe: Recipe) -> Recipe:
        """The recipe with the steps asked for."""
        return recipe if self.steps is None else recipe.in_steps(self.steps)

    def all_adapted(self, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
        """Recipes by name, in the steps asked for."""
        return {name: self.adapted(recipe) for name, recipe in recipes.items()}


def facts(subjects: Sequence[Subject], work: Work, **more: Any) -> dict[str, Any]:
    """The manifest of an experiment: the networks, what else there is to say, and what all have in common."""
    return {
        "networks": [_of(subject) for subject in subjects],
        **more,
        "seed": work.seed,
        "batch": work.batch,
        "device": work.device,
    }


def _of(subject: Subject) -> dict[str, Any]:
    """Which network it is and how it was opened, and its layers."""
    source = subject.net.source
    opened = None if source is None else source.to_dict()
    return {**model_facts(subject.net), "source": opened, "layers": list(subject.layers)}


def as_data(recipes: Mapping[str, Mapping[str, Recipe]]) -> dict[str, Any]:
    """Recipes by network and name, JSON-able."""
    return {net: {name: recipe.to_dict() for name, recipe in each.items()} for net, each in recipes.items()}


def cell_of(pixels: Pixels) -> int:
    """The size of a sheet's cells for pictures (N, H, W, C): small ones are enlarged by a whole factor."""
    longest = max(pixels.shape[1:3])
    return CELL if longest > CELL else longest * max(1, CELL // longest)


def class_names(net: Network, classes: Sequence[str | int]) -> list[str]:
    """The names that a network has for classes."""
    known = net.classes_of()
    return [known.name(known.index(which)) for which in classes]


def others(subjects: Sequence[Subject], source: Network) -> list[Network]:
    """The networks that took no part in an image of `source`, and can judge it."""
    return [each.net for each in subjects if each.net is not source]


def need_photographs(wanted: int, there: int, what: str = "use") -> None:
    """Complain where there are fewer photographs than are asked for."""
    checks.count(wanted, "the number of photographs", least=0)
    if wanted > there:
        raise InputError(f"There are {there} photographs to {what}, but {wanted} are asked for.")
