"""``sobolevflow attribute``: which pixels of a photograph a score comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .given import (
    DEVICE,
    MODEL,
    PICTURES,
    check_outputs,
    devices,
    indices,
    load,
    objective,
    objectives,
    of_offered,
    photographs,
    say_notes_of,
)
from .options import Argument, Given, Group, Table, check_belongs, command, keywords
from .printing import JSON, OK, QUIET, say_notes
from .types import INTEGER, NUMBER, Kind, one_of

if TYPE_CHECKING:
    from ..network import Network
    from ..objectives import Objective

# The methods, and which function of `attribution` each is.
_METHODS = {
    "saliency": "saliency",
    "sobolev-saliency": "saliency",
    "smooth-grad": "smooth_grad",
    "integrated-gradients": "integrated_gradients",
    "grad-cam": "grad_cam",
}

_GAMMA = 20.0  # the strength of the fluid filter that `invert` has by default

_SMOOTHING = Argument(
    "--gamma",
    "sobolev-saliency, smooth-grad: strength of the filter in pixels squared "
    f"(default: {_GAMMA:g} for sobolev-saliency, no filter for smooth-grad)",
    NUMBER,
    belongs_to=("sobolev-saliency", "smooth-grad"),
)

_FORWARDED = (
    Argument(
        "--layer", "grad-cam: layer to look at (default: the last feature map)", belongs_to=("grad-cam",)
    ),
    Argument("--samples", "smooth-grad: noisy copies (default: 25)", INTEGER, belongs_to=("smooth-grad",)),
    Argument(
        "--noise",
        "smooth-grad: standard deviation, relative to the range of the image (default: 0.15)",
        NUMBER,
        belongs_to=("smooth-grad",),
    ),
    Argument("--seed", "smooth-grad: of the noise (default: 0)", INTEGER, belongs_to=("smooth-grad",)),
    Argument(
        *("--steps", "integrated-gradients: gradients (default: 50)", INTEGER),
        belongs_to=("integrated-gradients",),
    ),
    Argument(
        *("--baseline", "integrated-gradients: grey level in [0, 1] to compare with (default: 0)", NUMBER),
        belongs_to=("integrated-gradients",),
    ),
)


def _table() -> Table:
    return (
        *MODEL,
        Argument("photo", "image files; several are drawn side by side", words="+"),
        Argument("--method", kind=one_of(*_METHODS), required=True),
        Group(
            "of what",
            objectives("attribute"),
            "default: the network's own top-1 of each photograph",
            only_one="may",
        ),
        *of_offered("attribute"),
        Group("how", (_SMOOTHING, *_FORWARDED, *DEVICE)),
        PICTURES,
        Group(
            "output",
            (
                Argument("-o/--output", "picture of the map to write", Kind("FILE"), required=True),
                Argument("--overlay", "draw the map on the photograph", flag=True),
                Argument("--npy", "also write the map itself, (N, H, W) float32", Kind("FILE")),
                *(QUIET, JSON),
            ),
        ),
    )


@command(
    "attribute",
    "draw which pixels of a photograph a class score comes from",
    "sobolevflow attribute model.onnx photo.jpg --method grad-cam --preprocess torch -o map.png",
    _table,
)
def attribute(given: Given) -> int:
    """Write a picture of the map, and the map itself where that is asked for."""
    from ..attribution import heatmap
    from ..objectives import Class
    from ..pictures import tiled, write_array, write_image

    check_outputs(given)
    method = given["method"]
    check_belongs(given, (_SMOOTHING, *_FORWARDED), "--method ", method)
    net = load(given)
    photos = photographs(net, given, given["photo"], "sf.attribution")
    asked = objective(net, given, "attribute")
    explained = asked or Class(_top_classes(net, photos))
    say_notes_of(net, given, explained.notes(net))
    maps = _maps(net, explained, photos, given)
    pictures = heatmap(maps, photos if "overlay" in given else None)
    path = write_image(given["output"], pictures[0] if len(pictures) == 1 else tiled(list(pictures)))
    array = write_array(given["npy"], maps) if "npy" in given else None
    of = indices(net, explained)
    names = None if of is None else [net.class_name(k) for k in of]
    if "json" in given:
        files = {"picture": str(path), "array": array and str(array)}
        outcome = {"method": method, "objective": explained.to_dict(), "classes": names}
        print(json.dumps({**files, **outcome, "own_top1": asked is None}))
    else:
        what = str(explained) if names is None else "; ".join(name.split(",")[0] for name in names)
        print(f"wrote {path}: {method} of {what}" + (" (the network's own top-1)" if asked is None else ""))
        if array is not None:
            print(f"wrote {array}")
    if "quiet" not in given:
        empty = [photo for photo, each in zip(given["photo"], maps, strict=True) if not each.any()]
        say_notes(f"the map of {photo} is zero everywhere" for photo in empty)
    return OK


def _top_classes(net: Network, photos: Any) -> list[int]:
    """The best class of each photograph, a background class left aside."""
    return [int(k) for k in net.scores(photos)[:, net.offset :].argmax(axis=1)]


def _maps(net: Network, explained: Objective, photos: Any, given: Given) -> Any:
    """The maps of the method asked for, (N, H, W)."""
    from .. import attribution
    from ..filters import Sobolev

    method, more = given["method"], keywords(given, _FORWARDED)
    if method == "sobolev-saliency" or "gamma" in given:
        more["filter"] = Sobolev(gamma=given.get("gamma", _GAMMA))
    if method == "integrated-gradients":
        more["reduce"] = "sum"
    device, *others = devices(given)
    if others:
        raise InputError("attribute takes a single --device")
    compute = getattr(attribution, _METHODS[method])
    return compute(net, explained, photos, device=device, **more)
