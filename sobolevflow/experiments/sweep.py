"""A grid of gamma and tau for elastic Sobolev demons, and what theory says of it.

The fixed points of u <- K_e * (u - tau g) solve min D(u) + lambda |grad u|^2 with lambda = gamma / (2 tau).
Images along a diagonal of the grid, where the ratio is the same, are then one image, if the descent gets that
far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..descent import GREY_LEVEL
from ..filters import Sobolev
from ..network import Network
from ..pictures import Pixels, contact_sheet
from ..schemes import Dirichlet, elastic
from .descents import Pictures, Runner
from .experiment import Plan, Rows, Sheet, experiment
from .judging import likeness
from .photographs import Photographs
from .recipes import Recipe
from .work import Subject, Work, cell_of, need_photographs

GAMMAS = (0.05, 0.1, 0.2, 0.4)  # pixels squared
TAUS = tuple(level * GREY_LEVEL for level in (1.0, 2.0, 4.0, 8.0))


@experiment("sweep")
def run(
    subjects: Sequence[Subject],
    photographs: Photographs,
    work: Work,
    gammas: Sequence[float] = GAMMAS,
    taus: Sequence[float] = TAUS,
    count: int = 1,
) -> Plan:
    """Every layer of every network, inverted with every gamma and tau.

    Parameters
    ----------
    subjects : sequence of Subject
        Each with at least one layer.
    photographs : Photographs
    work : Work
        The folder gets ``sweep.csv``, and for each layer a sheet with gamma down and tau across, the
        prediction lambda_eff on every picture.
    gammas : sequence of float
        In pixels squared.
    taus : sequence of float
        In the unit of the image; gradients are divided by their mean absolute value.
    count : int
        Photographs; the sheet shows the first.

    The table has a row for each network, layer, gamma and tau: ``lambda_eff`` = gamma mean|g| / (2 tau) from
    the last steps, the Dirichlet energy reached, feature error, PSNR.
    """
    need_photographs(count, len(photographs))
    shown = photographs[:count]
    grid = {(gamma, tau): work.adapted(recipe(gamma, tau)) for gamma in gammas for tau in taus}

    def results(runner: Runner) -> Iterator[Rows | Sheet]:
        for subject in subjects:
            for layer in subject.layers:
                images: dict[tuple[float, float], Pictures] = {}
                for (gamma, tau), each in grid.items():
                    images[gamma, tau] = pictures = runner.invert(subject.net, layer, shown, each)
                    row = {
                        "network": subject.net.name,
                        "layer": layer,
                        "gamma": gamma,
                        "tau": tau,
                        "lambda_eff": pictures.weight,
                        "dirichlet_energy": float(np.mean(Dirichlet(1.0).energy(pictures.u))),
                        **likeness(runner.store, subject.net, pictures, shown),
                    }
                    yield Rows([row])
                yield Sheet(
                    f"sweep-{subject.net.name}-{layer}", _sheet(subject.net, layer, gammas, taus, images)
                )

    return Plan(
        facts={
            "of": [path.name for path in shown.paths],
            "recipes": [each.to_dict() for each in grid.values()],
        },
        images=count,
        sets=sum(len(s.layers) for s in subjects) * len(grid),
        results=results,
    )


def recipe(gamma: float, tau: float) -> Recipe:
    """Elastic Sobolev demons of constant steps, so that there is a fixed point to reach."""
    scheme = elastic(Sobolev(gamma=gamma))
    return Recipe(scheme=scheme, tau=tau, steps=300, normalise="before")


def _sheet(
    net: Network,
    layer: str,
    gammas: Sequence[float],
    taus: Sequence[float],
    images: dict[tuple[float, float], Pictures],
) -> Pixels:
    return contact_sheet(
        [[images[gamma, tau].pixels[0] for tau in taus] for gamma in gammas],
        row_labels=[f"gamma {gamma:g}" for gamma in gammas],
        column_labels=[f"tau {tau / GREY_LEVEL:g}/255" for tau in taus],
        title=f"{net.name}, {layer}",
        caption="lambda_eff = gamma mean|g| / (2 tau) on each picture",
        notes=[[f"{images[gamma, tau].weight:.1e}" for tau in taus] for gamma in gammas],
        cell=cell_of(next(iter(images.values())).pixels),
    )
