"""The demonstration: one class of a bundled network under every scheme, and one inversion.

The sheet is laid out as the paper's Fig. 1, rows for the filters and columns for the schemes,
with total variation as the baseline in a column of its own. Below, a generated picture is
inverted from ever deeper layers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..descent import invert, visualize
from ..files import make_folder
from ..filters import Filter, Gaussian, Sobolev
from ..models import draw
from ..network import Network, load
from ..objectives import Class, Inversion
from ..pictures import Pixels, check_writable, contact_sheet, to_uint8, write_image
from ..results import Result
from ..schemes import Scheme, elastic, fluid, fluid_elastic, proximal_tv

NETWORK, CLASS = "builtin:shapes-vgg", "spiral"

SIZE = 11  # of the filters, as in the paper's Fig. 1

CELL = 192  # of the sheet, in pixels

TV_WEIGHT = 0.01

FILTERS: dict[str, Callable[..., Filter]] = {"Sobolev": Sobolev, "Gaussian": Gaussian}

COLUMNS = {"fluid": fluid, "elastic": elastic, "fluid-elastic": fluid_elastic}


def run_demo(
    folder: str | os.PathLike[str],
    *,
    network: str = NETWORK,
    class_name: str = CLASS,
    steps: int = 160,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Make the demonstration's pictures.

    Parameters
    ----------
    folder : path
        Made if absent. Gets ``demo.png``, the sheet, and every single picture with its manifest.
    network : str
        A network with the classes of `sobolevflow.models.shapes`.
    class_name : str
        The class to visualize, and to draw the inverted picture of.
    steps, seed : int
    progress : bool

    Returns
    -------
    dict
        ``sheet``: path of the contact sheet; ``top1``: what the network takes each picture for.

    Raises
    ------
    OutputError
        The folder cannot be made or written.
    KeyboardInterrupt
        By Ctrl-C; the pictures made so far are written.
    """
    net = load(network)
    classes = net.classes_of()
    classes.index(class_name)
    out = make_folder(folder)
    sheet = check_writable(out / "demo.png")
    settings = {"steps": steps, "seed": seed, "progress": progress}
    results = {
        name: _saved(out, _slug(name), visualize(net, Class(class_name), scheme=scheme, **settings))  # type: ignore[arg-type]
        for name, scheme in schemes().items()
    }
    photo = draw(class_name, np.random.default_rng(seed), net.input_shape[1])
    inversions = {
        layer: _saved(out, f"inversion-{layer}", invert(net, Inversion(layer, photo), **settings))  # type: ignore[arg-type]
        for layer in _inverted_layers(net)
    }
    class_sheet = scheme_sheet(
        {name: result.image[0] for name, result in results.items()},
        title=f"{class_name}, as {net.name} has learned it",
        caption="images of the highest class score, by scheme and filter (11 x 11)",
    )
    write_image(sheet, _stacked([class_sheet, _inversion_sheet(net, photo, inversions)]))
    everything = {**{_slug(name): result for name, result in results.items()}, **inversions}
    top1 = {
        name: classes.name(classes.ranked(net.scores(result.u), 1)[0, 0])
        for name, result in everything.items()
    }
    return {"sheet": str(sheet), "top1": top1}


def _saved(folder: Path, name: str, result: Result) -> Result:
    """Write one picture; Ctrl-C during its run ends the whole demonstration after that."""
    result.save(folder / f"{name}.png")
    if result.interrupted:
        raise KeyboardInterrupt
    return result


def schemes(size: int = SIZE) -> dict[str, Scheme]:
    """The six schemes of eq. (18) by filter and place, "Sobolev fluid" and so on, and the baseline "TV"."""
    demons = {
        f"{f} {column}": make(K(size=size)) for f, K in FILTERS.items() for column, make in COLUMNS.items()
    }
    return {**demons, "TV": proximal_tv(TV_WEIGHT)}


def _slug(name: str) -> str:
    """A scheme's name as that of a file."""
    return name.lower().replace(" ", "-")


def _inverted_layers(net: Network) -> list[str]:
    """The last rectified layer at each of the coarser three resolutions."""
    last: dict[int, str] = {}
    for info in net.layers:
        if info.op == "Relu" and info.differentiable and info.shape and len(info.shape) == 4:
            last[info.shape[-1]] = info.name
    return [last[size] for size in sorted(last)[:3]][::-1]


def scheme_sheet(
    images: Mapping[str, Pixels], title: str, caption: str | None = None, cell: int = CELL
) -> Pixels:
    """Pictures by the names of `schemes`, laid out as the paper's Fig. 1: a row a filter, TV at the end."""
    rows = [[images[f"{f} {column}"] for column in COLUMNS] for f in FILTERS]
    return contact_sheet(
        [[*rows[0], images["TV"]], *rows[1:]],
        row_labels=list(FILTERS),
        column_labels=[*COLUMNS, "TV"],
        title=title,
        caption=caption,
        cell=cell,
    )


def _inversion_sheet(net: Network, photo: Any, inversions: dict[str, Result]) -> Pixels:
    original = np.ascontiguousarray(np.moveaxis(to_uint8(photo), 0, -1))
    return contact_sheet(
        [[original, *(result.image[0] for result in inversions.values())]],
        row_labels=["inversion"],
        column_labels=["picture", *inversions],
        caption=f"images with the picture's features in a layer of {net.name}",
        cell=CELL,
    )


def _stacked(sheets: list[Pixels]) -> Pixels:
    """One sheet below the other, on white, flush right, so that the columns meet."""
    width = max(sheet.shape[1] for sheet in sheets)
    padded = [np.pad(s, ((0, 0), (width - s.shape[1], 0), (0, 0)), constant_values=255) for s in sheets]
    return np.concatenate(padded)
