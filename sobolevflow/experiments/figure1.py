"""Figure 1: classes of a network by every scheme and filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..network import Network
from .demo import scheme_sheet
from .descents import Pictures
from .judging import described
from .published import Published, published
from .work import Subject, Work, as_data, cell_of, facts, others

Row = dict[str, Any]


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
    recipes = {net.name: work.all_adapted(settings.recipes_for(net)) for net in networks}
    work.folder.manifest("figure1", facts(subjects, work, of=list(classes), recipes=as_data(recipes)))
    rows: list[Row] = []
    sets = sum(len(each) for each in recipes.values())
    with work.runner("figure1", len(classes), sets) as runner:
        for net in networks:
            found = {
                name: runner.visualize(net, classes, recipe) for name, recipe in recipes[net.name].items()
            }
            rows += [
                {"scheme": name, **described(runner.store, net, others(subjects, net), pictures, classes)}
                for name, pictures in found.items()
            ]
            work.folder.table("figure1", rows)
            _draw(work, net, classes, found)
    return rows


def _draw(work: Work, net: Network, classes: Sequence[str | int], found: Mapping[str, Pictures]) -> None:
    for k, which in enumerate(classes):
        name = net.class_name(net.class_index(which))
        sheet = scheme_sheet(
            {scheme: pictures.pixels[k] for scheme, pictures in found.items()},
            title=f"{name}, as {net.name} has learned it",
            cell=cell_of(next(iter(found.values())).pixels),
        )
        work.folder.picture(f"figure1-{net.name}-{name}", sheet)
