"""Figure 4: photographs inverted from several layers with several regularisers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..network import Network
from ..pictures import Pixels, contact_sheet
from ..results import as_pictures
from .descents import Pictures, Runner
from .experiment import Plan, Rows, Sheet, experiment
from .judging import classes_of, likeness, said_by
from .photographs import Photographs
from .published import Published, published
from .work import Subject, Work, as_data, cell_of, need_photographs, others


@experiment("figure4")
def run(
    subjects: Sequence[Subject],
    photographs: Photographs,
    work: Work,
    settings: Published | None = None,
    count: int = 6,
) -> Plan:
    """Every layer of every network, inverted for `count` photographs by all seven schemes.

    Parameters
    ----------
    subjects : sequence of Subject
        Each with at least one layer; judged by all the others.
    photographs : Photographs
    work : Work
        The folder gets ``figure4.csv``, and a sheet for each layer: photographs in columns, schemes in rows.
    settings : Published, optional
        Those of Figure 4, normalised, unless given.
    count : int
        Photographs.

    The table has a row for each network, layer and scheme: feature error, PSNR, SSIM, what the others
    recognise.
    """
    need_photographs(count, len(photographs))
    settings = published("figure4/densenet121") if settings is None else settings
    shown = photographs[:count]
    recipes = {s.net.name: work.all_adapted(settings.recipes_for(s.net)) for s in subjects}

    def results(runner: Runner) -> Iterator[Rows | Sheet]:
        for subject in subjects:
            judges = others(subjects, subject.net)
            classes = [classes_of(judge, shown) for judge in judges]
            for layer in subject.layers:
                images: dict[str, Pictures] = {}
                for scheme, recipe in recipes[subject.net.name].items():
                    images[scheme] = pictures = runner.invert(subject.net, layer, shown, recipe)
                    row = {
                        "network": subject.net.name,
                        "layer": layer,
                        "scheme": scheme,
                        **likeness(runner.store, subject.net, pictures, shown),
                        **said_by(runner.store, judges, pictures.u, classes),
                    }
                    yield Rows([row])
                name = f"figure4-{subject.net.name}-{layer}"
                yield Sheet(name, sheet(subject.net, layer, shown, images))

    return Plan(
        facts={"of": [path.name for path in shown.paths], "recipes": as_data(recipes)},
        images=count,
        sets=sum(len(s.layers) * len(recipes[s.net.name]) for s in subjects),
        results=results,
    )


def sheet(net: Network, layer: str, photographs: Photographs, images: Mapping[str, Pictures]) -> Pixels:
    """Photographs above, and below them what each method made of their features."""
    return contact_sheet(
        [
            list(as_pictures(photographs.seen_by(net))),
            *(list(pictures.pixels[: len(photographs)]) for pictures in images.values()),
        ],
        row_labels=["photographs", *images],
        title=f"{net.name}, {layer}, inverted",
        cell=cell_of(next(iter(images.values())).pixels),
    )
