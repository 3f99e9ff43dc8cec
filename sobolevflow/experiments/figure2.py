"""Figure 2: one class by several networks, with octaves and crops and without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..network import Network
from ..pictures import contact_sheet
from .descents import Pictures
from .judging import described
from .published import Published, published
from .work import Subject, Work, as_data, cell_of, facts, others

Row = dict[str, Any]
FORMS = ("octaves", "plain")


def run(
    subjects: Sequence[Subject],
    classes: Sequence[str | int],
    work: Work,
    settings: Mapping[str, Published] | None = None,
) -> list[Row]:
    """Every class of every network, by all seven schemes, with octaves and without.

    Parameters
    ----------
    subjects : sequence of Subject
        Each network is judged by all the others.
    classes : sequence of str or int
    work : Work
        The folder gets ``figure2.csv``, and for each class and form a sheet with the schemes in rows and the
        networks in columns.
    settings : mapping, optional
        The two forms, "octaves" and "plain"; those of Figure 2 for VGG19, normalised, unless given.

    Returns
    -------
    list of dict
        A row for each network, form and scheme.
    """
    if settings is None:
        settings = {form: published(f"figure2/vgg19/{form}") for form in FORMS}
    networks = [subject.net for subject in subjects]
    recipes = {
        f"{net.name}/{form}": work.all_adapted(each.recipes_for(net))
        for form, each in settings.items()
        for net in networks
    }
    work.folder.manifest("figure2", facts(subjects, work, of=list(classes), recipes=as_data(recipes)))
    rows: list[Row] = []
    sets = sum(len(each) for each in recipes.values())
    with work.runner("figure2", len(classes), sets) as runner:
        for form in settings:
            found: dict[str, dict[str, Pictures]] = {}
            for net in networks:
                found[net.name] = {
                    scheme: runner.visualize(net, classes, recipe)
                    for scheme, recipe in recipes[f"{net.name}/{form}"].items()
                }
                rows += [
                    {
                        "form": form,
                        "scheme": scheme,
                        **described(runner.store, net, others(subjects, net), pictures, classes),
                    }
                    for scheme, pictures in found[net.name].items()
                ]
                work.folder.table("figure2", rows)
            _draw(work, networks, classes, form, found)
    return rows


def _draw(
    work: Work,
    networks: Sequence[Network],
    classes: Sequence[str | int],
    form: str,
    found: Mapping[str, Mapping[str, Pictures]],
) -> None:
    names = [net.name for net in networks]
    for k, which in enumerate(classes):
        name = networks[0].class_name(networks[0].class_index(which))
        schemes = list(found[names[0]])
        sheet = contact_sheet(
            [[found[net][scheme].pixels[k] for net in names] for scheme in schemes],
            row_labels=schemes,
            column_labels=names,
            title=f"{name}, {form}",
            cell=cell_of(found[names[0]][schemes[0]].pixels),
        )
        work.folder.picture(f"figure2-{name}-{form}", sheet)
