"""Figure 1: classes of a network by every scheme and filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..demo import scheme_sheet
from ..images import Pixels
from ..manifest import model_facts
from ..network import Network
from .descents import Pictures, Runner
from .judging import naturalness, recognised
from .published import Published, published
from .recipes import Recipe
from .work import Subject, Work, others

Row = dict[str, Any]
CELL = 224  # of a sheet, in pixels, at most


def run(
    subjects: Sequence[Subject],
    classes: Sequence[str | int],
    work: Work,
    settings: Published | None = None,
) -> list[Row]:
    """Every class of every network, by six demons and total variation.

    Parameters
    ----------
    subjects : sequence of Subject
        Each network is judged by all the others.
    classes : sequence of str or int
    work : Work
        The folder gets ``figure1.csv`` and a sheet for each network and class.
    settings : Published, optional
        Those of Figure 1, normalised, unless given.

    Returns
    -------
    list of dict
        A row for each network and scheme: objective, own and other networks' top-1 and top-5, spectrum.
    """
    settings = published("figure1/vgg19") if settings is None else settings
    networks = [subject.net for subject in subjects]
    recipes = {net.name: adapted(work, settings.recipes_for(net)) for net in networks}
    work.folder.manifest("figure1", facts(subjects, classes, recipes, work))
    rows: list[Row] = []
    sets = sum(len(each) for each in recipes.values())
    with work.runner("figure1", len(classes), sets) as runner:
        for net in networks:
            found = {
                name: runner.visualize(net, classes, recipe) for name, recipe in recipes[net.name].items()
            }
            rows += [
                {"scheme": name, **described(runner, net, others(subjects, net), pictures, classes)}
                for name, pictures in found.items()
            ]
            work.folder.table("figure1", rows)
            _draw(work, net, classes, found)
    return rows


def described(
    runner: Runner, net: Network, judges: Sequence[Network], found: Pictures, classes: Sequence[str | int]
) -> Row:
    """What is said of pictures of classes: by their own network, by others, and by statistics."""
    numbers = [net.class_index(k) - net.offset for k in classes]
    own = recognised(runner.store, net, found.u, numbers)
    row: Row = {
        "network": net.name,
        "images": len(numbers),
        "objective": float(found.value.mean()),
        **{f"own_{name}": own[name] for name in ("top1", "top5", "probability")},
    }
    for judge in judges:
        said = recognised(runner.store, judge, found.u, numbers)
        row |= {f"{judge.name}_{name}": value for name, value in said.items()}
    return {**row, **naturalness(found.u)}


def cell_of(pixels: Pixels) -> int:
    """The size of a sheet's cells for pictures (N, H, W, C): small ones are enlarged by a whole factor."""
    longest = max(pixels.shape[1:3])
    return CELL if longest > CELL else longest * max(1, CELL // longest)


def adapted(work: Work, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    """The recipes in the steps asked for."""
    return {name: work.adapted(recipe) for name, recipe in recipes.items()}


def facts(
    subjects: Sequence[Subject],
    what: Sequence[str | int],
    recipes: Mapping[str, Mapping[str, Recipe]],
    work: Work,
) -> Row:
    """The manifest of an experiment."""
    return {
        "networks": [{**model_facts(s.net), "layers": list(s.layers)} for s in subjects],
        "of": list(what),
        "recipes": {
            net: {name: recipe.to_dict() for name, recipe in each.items()} for net, each in recipes.items()
        },
        "seed": work.seed,
        "batch": work.batch,
    }


def _draw(work: Work, net: Network, classes: Sequence[str | int], found: Mapping[str, Pictures]) -> None:
    for k, which in enumerate(classes):
        name = net.class_name(net.class_index(which))
        sheet = scheme_sheet(
            {scheme: pictures.pixels[k] for scheme, pictures in found.items()},
            title=f"{name}, as {net.name} has learned it",
            cell=cell_of(next(iter(found.values())).pixels),
        )
        work.folder.picture(f"figure1-{net.name}-{name}", sheet)
