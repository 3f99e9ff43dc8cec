"""Gaussian against Sobolev at equal strength: what the filter's shape does, apart from how strong it is.

The paper compares filters of equal support, of which the Sobolev filter lets more than twice as much noise
pass. Here one Gaussian filter meets three Sobolev filters: of its support, of its variance, and of its noise
gain (`filters.match`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from ..filters import Filter, Gaussian, Sobolev, match, noise_gain, variance
from ..network import Network
from ..pictures import contact_sheet
from .demo import COLUMNS
from .descents import Pictures, Runner
from .experiment import Plan, Rows, Sheet, experiment
from .folder import Row
from .judging import described
from .published import published
from .recipes import SIZE, Recipe
from .work import Subject, Work, as_data, cell_of, class_names, others

MEASURES: tuple[Literal["support", "variance", "noise"], ...] = ("support", "variance", "noise")


@experiment("matched")
def run(
    subjects: Sequence[Subject],
    classes: Sequence[str | int],
    work: Work,
    recipe: Recipe | None = None,
    size: int = SIZE,
) -> Plan:
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

    The table has a row for each network, place and filter, with the strengths of the filter.
    """
    recipe = work.adapted(published("figure1/vgg19").recipe if recipe is None else recipe)
    filters = matched_filters(size)
    recipes = {
        f"{label} {place}": recipe.but(scheme=make(K))
        for place, make in COLUMNS.items()
        for label, K in filters.items()
    }

    def results(runner: Runner) -> Iterator[Rows | Sheet]:
        for net in (subject.net for subject in subjects):
            images = {name: runner.visualize(net, classes, each) for name, each in recipes.items()}
            judges = others(subjects, net)
            yield Rows(
                [
                    {
                        "place": place,
                        "filter": label,
                        **strengths(K),
                        **described(runner.store, net, judges, images[f"{label} {place}"], classes),
                    }
                    for place in COLUMNS
                    for label, K in filters.items()
                ]
            )
            yield from _sheets(net, classes, images, list(filters))

    return Plan(
        facts={"of": list(classes), "recipes": as_data({"all": recipes})},
        images=len(classes),
        sets=len(subjects) * len(recipes),
        results=results,
    )


def matched_filters(size: int) -> dict[str, Filter]:
    """The Gaussian filter of a size, and the Sobolev filters that are as strong as it."""
    gaussian = Gaussian(size=size)
    return {"Gaussian": gaussian, **{f"Sobolev, equal {each}": match(gaussian, each) for each in MEASURES}}


def strengths(K: Filter) -> Row:
    """Parameter, standard deviation of the kernel and white-noise gain of a filter."""
    parameter = K.gamma if isinstance(K, Sobolev) else getattr(K, "sigma", None)
    down = float(variance(K)[0])
    return {"parameter": parameter, "kernel_std": down**0.5, "noise_gain": noise_gain(K)}


def _sheets(
    net: Network, classes: Sequence[str | int], images: Mapping[str, Pictures], labels: Sequence[str]
) -> Iterator[Sheet]:
    for k, name in enumerate(class_names(net, classes)):
        sheet = contact_sheet(
            [[images[f"{label} {place}"].pixels[k] for place in COLUMNS] for label in labels],
            row_labels=labels,
            column_labels=list(COLUMNS),
            title=f"{name}, {net.name}",
            cell=cell_of(next(iter(images.values())).pixels),
        )
        yield Sheet(f"matched-{net.name}-{name}", sheet)
