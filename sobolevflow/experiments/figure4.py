"""Figure 4: photographs inverted from several layers with several regularisers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..images import Pixels
from ..network import Network
from ..report import contact_sheet
from ..result import as_pictures
from .descents import Pictures
from .figure1 import adapted, cell_of, facts
from .judging import classes_of, likeness, recognised, seen
from .photographs import Photographs
from .published import Published, published
from .work import Subject, Work, need_photographs, others

Row = dict[str, Any]


def run(
    subjects: Sequence[Subject],
    photographs: Photographs,
    work: Work,
    settings: Published | None = None,
    count: int = 6,
) -> list[Row]:
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

    Returns
    -------
    list of dict
        A row for each network, layer and scheme: feature error, PSNR, SSIM, what the others recognise.
    """
    need_photographs(count, len(photographs))
    settings = published("figure4/densenet121") if settings is None else settings
    shown = photographs[:count]
    recipes = {s.net.name: adapted(work, settings.recipes_for(s.net)) for s in subjects}
    work.folder.manifest("figure4", facts(subjects, [path.name for path in shown.paths], recipes, work))
    rows: list[Row] = []
    sets = sum(len(s.layers) * len(recipes[s.net.name]) for s in subjects)
    with work.runner("figure4", count, sets) as runner:
        for subject in subjects:
            for layer in subject.layers:
                found: dict[str, Pictures] = {}
                for scheme, recipe in recipes[subject.net.name].items():
                    found[scheme] = runner.invert(subject.net, layer, shown, recipe)
                    row: Row = {"network": subject.net.name, "layer": layer, "scheme": scheme}
                    row |= likeness(runner.store, subject.net, found[scheme], shown)
                    for judge in others(subjects, subject.net):
                        said = recognised(runner.store, judge, found[scheme].u, classes_of(judge, shown))
                        row |= {f"{judge.name}_{name}": value for name, value in said.items()}
                    rows.append(row)
                    work.folder.table("figure4", rows)
                name = f"figure4-{subject.net.name}-{layer}"
                work.folder.picture(name, sheet(subject.net, layer, shown, found))
    return rows


def sheet(net: Network, layer: str, photographs: Photographs, found: Mapping[str, Pictures]) -> Pixels:
    """Photographs above, and below them what each method made of their features."""
    return contact_sheet(
        [
            list(as_pictures(seen(net, photographs))),
            *(list(pictures.pixels[: len(photographs)]) for pictures in found.values()),
        ],
        row_labels=["photographs", *found],
        title=f"{net.name}, {layer}, inverted",
        cell=cell_of(next(iter(found.values())).pixels),
    )
