"""Figure 2: one class by several networks, with octaves and crops and without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..network import Network
from ..pictures import contact_sheet
from .descents import Pictures, Runner
from .experiment import Plan, Rows, Sheet, experiment
from .judging import described
from .published import Published, forms
from .work import Subject, Work, as_data, cell_of, class_names, others


@experiment("figure2")
def run(
    subjects: Sequence[Subject],
    classes: Sequence[str | int],
    work: Work,
    settings: Mapping[str, Published] | None = None,
) -> Plan:
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

    The table has a row for each network, form and scheme.
    """
    settings = forms("figure2/vgg19") if settings is None else settings
    networks = [subject.net for subject in subjects]
    recipes = {
        f"{net.name}/{form}": work.all_adapted(each.recipes_for(net))
        for form, each in settings.items()
        for net in networks
    }

    def results(runner: Runner) -> Iterator[Rows | Sheet]:
        for form in settings:
            images: dict[str, dict[str, Pictures]] = {}
            for net in networks:
                images[net.name] = {
                    scheme: runner.visualize(net, classes, recipe)
                    for scheme, recipe in recipes[f"{net.name}/{form}"].items()
                }
                judges = others(subjects, net)
                yield Rows(
                    [
                        {
                            "form": form,
                            "scheme": scheme,
                            **described(runner.store, net, judges, pictures, classes),
                        }
                        for scheme, pictures in images[net.name].items()
                    ]
                )
            yield from _sheets(networks, classes, form, images)

    return Plan(
        facts={"of": list(classes), "recipes": as_data(recipes)},
        images=len(classes),
        sets=sum(len(each) for each in recipes.values()),
        results=results,
    )


def _sheets(
    networks: Sequence[Network],
    classes: Sequence[str | int],
    form: str,
    images: Mapping[str, Mapping[str, Pictures]],
) -> Iterator[Sheet]:
    names = [net.name for net in networks]
    schemes = list(images[names[0]])
    for k, name in enumerate(class_names(networks[0], classes)):
        sheet = contact_sheet(
            [[images[net][scheme].pixels[k] for net in names] for scheme in schemes],
            row_labels=schemes,
            column_labels=names,
            title=f"{name}, {form}",
            cell=cell_of(images[names[0]][schemes[0]].pixels),
        )
        yield Sheet(f"figure2-{name}-{form}", sheet)
