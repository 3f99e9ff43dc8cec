"""Gaussian against Sobolev at equal strength: what the filter's shape does, apart from how strong it is.

The paper compares filters of equal support, of which the Sobolev filter lets more than twice as much noise
pass. Here one Gaussian filter meets three Sobolev filters: of its support, of its variance, and of its noise
gain (`filters.match`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..filters import Filter, Gaussian, Sobolev, match
from ..filters.matching import noise_gain, variance
from ..network import Network
from ..pictures import contact_sheet
from .demo import COLUMNS
from .descents import Pictures
from .judging import described
from .published import published
from .recipes import SIZE, Recipe
from .work import Subject, Work, as_data, cell_of, facts, others

Row = dict[str, Any]
MEASURES: tuple[Literal["support", "variance", "noise"], ...] = ("support", "variance", "noise")


def run(
    subjects: Sequence[Subject],
    classes: Sequence[str | int],
    work: Work,
    recipe: Recipe | None = None,
    size: int = SIZE,
) -> list[Row]:
    """Every class of every network, by demons whose filters are equally strong.

    Parameters
    ----------
    subjects : sequence of Subject
        Each network is judged by all the others.
    classes : sequence of str or int
    work : Work
        The folder gets ``matched.csv`` and a sheet for each network and class.
    recipe : Recipe, optional
        Everything but the scheme; that of Figure 1, normalised, unless given.
    size : int
        Of the Gaussian filter, in pixels.

    Returns
    -------
    list of dict
        A row for each network, place and filter, with the strengths of the filter.
    """
    recipe = work.adapted(published("figure1/vgg19").recipe if recipe is None else recipe)
    recipes = {
        f"{label} {place}": recipe.but(scheme=make(K))
        for place, make in COLUMNS.items()
        for label, K in matched_filters(size).items()
    }
    work.folder.manifest(
        "matched", facts(subjects, work, of=list(classes), recipes=as_data({"all": recipes}))
    )
    rows: list[Row] = []
    with work.runner("matched", len(classes), len(subjects) * len(recipes)) as runner:
        for net in (subject.net for subject in subjects):
            found = {name: runner.visualize(net, classes, each) for name, each in recipes.items()}
            rows += [
                {
                    "place": place,
                    "filter": label,
                    **strengths(K),
                    **described(runner.store, net, others(subjects, net), found[f"{label} {place}"], classes),
                }
                for place in COLUMNS
                for label, K in matched_filters(size).items()
            ]
            work.folder.table("matched", rows)
            _draw(work, net, classes, found, size)
    return rows


def matched_filters(size: int) -> dict[str, Filter]:
    """The Gaussian filter of a size, and the Sobolev filters that are as strong as it."""
    gaussian = Gaussian(size=size)
    return {"Gaussian": gaussian, **{f"Sobolev, equal {each}": match(gaussian, each) for each in MEASURES}}


def strengths(K: Filter) -> Row:
    """Parameter, standard deviation of the kernel and white-noise gain of a filter."""
    parameter = K.gamma if isinstance(K, Sobolev) else getattr(K, "sigma", None)
    down = float(variance(K)[0])
    return {"parameter": parameter, "kernel_std": down**0.5, "noise_gain": noise_gain(K)}


def _draw(
    work: Work, net: Network, classes: Sequence[str | int], found: Mapping[str, Pictures], size: int
) -> None:
    labels = list(matched_filters(size))
    for k, which in enumerate(classes):
        name = net.class_name(net.class_index(which))
        sheet = contact_sheet(
            [[found[f"{label} {place}"].pixels[k] for place in COLUMNS] for label in labels],
            row_labels=labels,
            column_labels=list(COLUMNS),
            title=f"{name}, {net.name}",
            cell=cell_of(next(iter(found.values())).pixels),
        )
        work.folder.picture(f"matched-{net.name}-{name}", sheet)
