"""The demonstration: one class of a bundled network under every scheme, and one inversion.

The sheet is laid out as the paper's Fig. 1, rows for the filters and columns for the schemes,
with total variation as the baseline in a column of its own and the inversion of a generated
picture below.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from .descent import invert, visualize
from .errors import OutputError
from .filters import Gaussian, Sobolev
from .images import Pixels, to_uint8, write_image
from .models.shapes import draw
from .network import Network, load
from .objectives import Class, Inversion
from .report import contact_sheet
from .result import Result
from .schemes import Scheme, elastic, fluid, fluid_elastic, proximal_tv

NETWORK, CLASS, INVERTED_LAYER = "builtin:shapes-vgg", "star", "block2_relu2"
SIZE = 11  # of the filters, as in the paper's Fig. 1
TV_WEIGHT = 0.01
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
    """
    out = _made(Path(folder))
    net = load(network)
    settings = {"steps": steps, "seed": seed, "progress": progress}
    results = {
        name: visualize(net, Class(class_name), scheme=scheme, **settings)  # type: ignore[arg-type]
        for name, scheme in _schemes().items()
    }
    photo = draw(class_name, np.random.default_rng(seed), net.input_shape[1])
    layer = _inverted_layer(net)
    results["inversion"] = invert(net, Inversion(layer, photo), steps=steps, seed=seed, progress=progress)
    for name, result in results.items():
        result.save(out / f"{name}.png")
    sheet = write_image(out / "demo.png", _sheet(net, class_name, layer, results, to_uint8(photo)))
    top1 = {name: net.class_name(int(net.top(result.u)[0, 0])) for name, result in results.items()}
    return {"sheet": str(sheet), "top1": top1}


def _schemes() -> dict[str, Scheme]:
    rows = {"sobolev": Sobolev(size=SIZE), "gaussian": Gaussian(size=SIZE)}
    schemes = {f"{row}-{column}": make(K) for row, K in rows.items() for column, make in COLUMNS.items()}
    return {**schemes, "tv": proximal_tv(TV_WEIGHT)}


def _inverted_layer(net: Network) -> str:
    """The layer to invert: the bundled VGG's, or one halfway up another network."""
    spatial = [
        info.name for info in net.layers if info.differentiable and info.shape and len(info.shape) == 4
    ]
    return INVERTED_LAYER if INVERTED_LAYER in spatial else spatial[len(spatial) // 2]


def _sheet(net: Network, class_name: str, layer: str, results: dict[str, Result], photo: Any) -> Pixels:
    def row(*names: str) -> list[Pixels | None]:
        return [results[name].image[0] for name in names]

    original = np.ascontiguousarray(np.moveaxis(photo, 0, -1))
    return contact_sheet(
        [
            [*row(*(f"sobolev-{c}" for c in COLUMNS)), results["tv"].image[0]],
            [*row(*(f"gaussian-{c}" for c in COLUMNS)), None],
            [original, results["inversion"].image[0], None, None],
        ],
        row_labels=["Sobolev", "Gaussian", f"inversion of\n{layer}"],
        column_labels=[*COLUMNS, "TV"],
        title=f"what {net.name} takes for a {class_name}",
        caption="first two rows: class pre-images; last row: a picture and its inversion",
        cell=192,
    )


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from None
    return folder
