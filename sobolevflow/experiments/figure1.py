"""Figure 1: classes of a network by every scheme and filter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..network import Network
from .demo import scheme_sheet
from .descents import Pictures, Runner
from .experiment import Plan, Rows, Sheet, experiment
from .judging import described
from .published import Published, published
from .work import Subject, Work, as_data, cell_of, class_names, others


@experiment("figure1")
def run(
    subjects: Sequence[Subject],
    classes: Sequence[str | int],
    work: Work,
    settings: Published | None = None,
) -> Plan:
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

    The table has a row for each network and scheme: objective, own and other networks' top-1 and top-5,
    spectrum.
    """
    settings = published("figure1/vgg19") if settings is None else settings
    networks = [subject.net for subject in subjects]
    recipes = {net.name: work.all_adapted(settings.recipes_for(net)) for net in networks}

    def results(runner: Runner) -> Iterator[Rows | Sheet]:
        for net in networks:
            images = {
                name: runner.visualize(net, classes, recipe) for name, recipe in recipes[net.name].items()
            }
            judges = others(subjects, net)
            yield Rows(
                [
                    {"scheme": name, **described(runner.store, net, judges, pictures, classes)}
                    for name, pictures in images.items()
                ]
            )
            yield from _sheets(net, classes, images)

    return Plan(
        facts={"of": list(classes), "recipes": as_data(recipes)},
        images=len(classes),
        sets=sum(len(each) for each in recipes.values()),
        results=results,
    )


def _sheets(net: Network, classes: Sequence[str | int], images: Mapping[str, Pictures]) -> Iterator[Sheet]:
    for k, name in enumerate(class_names(net, classes)):
        sheet = scheme_sheet(
            {scheme: pictures.pixels[k] for scheme, pictures in images.items()},
            title=f"{name}, as {net.name} has learned it",
            cell=cell_of(next(iter(images.values())).pixels),
        )
        yield Sheet(f"figure1-{net.name}-{name}", sheet)
