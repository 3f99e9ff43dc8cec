"""``sobolevflow bench``: how fast things are on this machine."""

from __future__ import annotations

from dataclasses import replace

from ..errors import InputError
from .given import OF_STRANGERS, of_strangers
from .options import Argument, Given, check_belongs, command, keywords
from .printing import OK, QUIET, print_json, print_rows
from .types import COUNT, TEXT, Kind, array_shape, one_of

_MEASURED = ("filters", "tv", "gradient")
_OF_ARRAYS = ("filters", "tv")

_HOW = (
    Argument(
        "--shape",
        "filters, tv: of the images; repeat for several",
        Kind("NxCxHxW", array_shape),
        repeat=True,
        belongs_to=_OF_ARRAYS,
        keyword="shapes",
    ),
    Argument(
        "--dtype", "filters, tv (default: float32)", one_of("float32", "float64"), belongs_to=_OF_ARRAYS
    ),
    Argument("--model", "gradient: ONNX file (default: builtin:shapes-vgg)", TEXT, belongs_to=("gradient",)),
    *(replace(each, about=f"gradient: {each.about}", belongs_to=("gradient",)) for each in OF_STRANGERS),
    Argument("--rounds", "timed calls of each (default: 15)", COUNT),
    Argument("--threads", "threads (default: all cores)", COUNT),
)


@command(
    "bench",
    "measure how fast filters, total variation or gradients are on this machine",
    "sobolevflow bench filters --shape 8x3x224x224",
    (
        Argument("what", kind=one_of(*_MEASURED)),
        Argument("--full", "filters: 8192 x 8192 too, which takes 4 GB", flag=True),
        *_HOW,
        QUIET,
        Argument("--json", "print JSON instead of a table", flag=True),
    ),
)
def bench(given: Given) -> int:
    """Print a table of throughputs."""
    from .. import experiments

    what = given["what"]
    check_belongs(given, _HOW, "bench ", what)
    if "full" in given and (what != "filters" or "shape" in given):
        raise InputError("--full belongs to bench filters without --shape")
    shapes = {"shapes": experiments.ALL_SHAPES} if "full" in given else {}
    measure = getattr(experiments, f"benchmark_{what}")
    rows = measure(**shapes, **{**keywords(given, _HOW), **of_strangers(given)})
    if "json" in given:
        print_json(rows, indent=1)
    else:
        print_rows(rows)
    return OK
