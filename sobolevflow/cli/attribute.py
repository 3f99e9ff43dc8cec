"""``sobolevflow attribute``: which pixels of a photograph a score comes from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AssumptionWarning, InputError
from .given import (
    DEVICE,
    MODEL,
    PICTURES,
    devices,
    each_by_itself,
    indices,
    load,
    objective,
    objectives,
    of_offered,
    photograph,
)
from .options import Argument, Given, Group, Table, check_belongs, command, keywords
from .printing import FAILED, JSON, OK, print_json, say_notes, tell, told
from .types import INTEGER, NEW_FILE_OR_FOLDER, NUMBER, Kind, one_of, share

if TYPE_CHECKING:
    import numpy as np

    from ..devices import Device
    from ..network import Network
    from ..objectives import Leaf, Objective
    from .heatmap_files import Files

# The methods, and which function of `attribution` each is.
_METHODS = {
    "saliency": "saliency",
    "sobolev-saliency": "saliency",
    "smooth-grad": "smooth_grad",
    "integrated-gradients": "integrated_gradients",
    "grad-cam": "grad_cam",
}

# Grad-CAM tells a class from its rival best, at less than one gradient (docs/attribution.md); what has no
# layer that it could look at gets the map that is readable at the cost of one.
_USUAL, _OTHERWISE = "grad-cam", "sobolev-saliency"

_METHOD = Argument(
    "--method",
    f"how the map is made (default: {_USUAL}, which tells classes apart best and costs least; {_OTHERWISE} "
    "where no layer has positions, and of a detection or region, which Grad-CAM does not tell from others)",
    one_of(*_METHODS),
)

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
        "--layer",
        "grad-cam: layer to look at (default: the last with positions; of a segmentation the encoder's)",
        belongs_to=("grad-cam",),
    ),
    Argument("--signed", "grad-cam: show evidence against too", flag=True, belongs_to=("grad-cam",)),
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


_DRAWN = (
    Argument(
        "--colormap",
        "fire, gray, hot, jet, viridis, magma, inferno, plasma, or blue-red, bwr, seismic with zero in the "
        "middle; any other of matplotlib's, if that is installed (default: fire, of signed maps blue-red)",
        Kind("NAME"),
    ),
    Argument(
        "--overlay",
        "draw the map on the photo: with X mixed evenly, from 0, the photo, to 1, the map; without X as "
        "strongly as the map is, on the photo in grey",
        Kind("X", share),
        words="?",
        keyword="alpha",
    ),
)


def _table() -> Table:
    return (
        *MODEL,
        Argument("photo", "image files", words="+"),
        Group(
            "objective",
            objectives("attribute"),
            "default: the network's own top-1 of each photograph",
            only_one="may",
        ),
        of_offered("attribute"),
        Group("method", (_METHOD, _SMOOTHING, *_FORWARDED)),
        DEVICE,
        PICTURES,
        Group(
            "output",
            (
                Argument(
                    "-o/--output",
                    "picture to write; for several photos a folder, or a picture of all side by side",
                    NEW_FILE_OR_FOLDER,
                    required=True,
                ),
                *_DRAWN,
                Argument(
                    "--size",
                    "of the maps: that of the photo, in whose coordinates they then are, or what the network "
                    "takes (default: original; network where several are side by side)",
                    one_of("original", "network"),
                ),
                Argument(
                    "--npy",
                    "also write the maps, (N, H, W) float32 of that size, NaN where the network does not "
                    "look; into a folder (H, W) of each photo",
                    NEW_FILE_OR_FOLDER,
                ),
                *(Argument("--quiet", "no notes", flag=True), JSON),
            ),
        ),
    )


@command(
    "attribute",
    "draw which pixels of a photograph a class score comes from",
    "sobolevflow attribute model.onnx photo.jpg --preprocess torch --overlay 0.5 -o map.png",
    _table,
)
def attribute(given: Given) -> int:
    """Write pictures of the maps, and the maps themselves where that is asked for."""
    from ..pictures import colour_map
    from .heatmap_files import files

    check_belongs(given, (_SMOOTHING, *_FORWARDED), "--method ", given.get("method", _USUAL))
    if "colormap" in given:
        colour_map(given["colormap"])
    photos = given["photo"]
    target = files(photos, given["output"], given.get("npy"), given.get("size"))
    net = load(given)
    asked = _Asked(net, given, _device(given))
    all_of_them = [_Photo(photo) for photo in photos]
    failed: dict[str, str] = {}
    done: list[_Photo] = []
    try:
        for k, each in enumerate(all_of_them):
            with each_by_itself(each.path, photos, failed):
                _attribute(each, k, asked, target)
                done.append(each)
    finally:  # also those that were done before Ctrl-C
        _write_together(done, target)
    if "json" in given:
        print_json(_outcome(all_of_them, done, failed, asked, target))
    else:
        _print(done, asked, target)
    return FAILED if failed else OK


@dataclass
class _Photo:
    """A photograph, and what became of it."""

    path: str
    objective: Objective | None = None
    picture: Path | None = None
    array: Path | None = None
    map: Any = None  # kept for what holds all of them
    drawn: Any = None


class _Asked:
    """What is asked of every photograph; complains of what is wrong for all of them."""

    def __init__(self, net: Network, given: Given, device: Device) -> None:
        from ..objectives import runtime_parameters

        self.net, self.given, self.device = net, given, device
        self.whole = objective(net, given, "attribute")
        if self.whole is not None and self.whole.awaits_image:
            _check_each(self.whole, len(given["photo"]))
        elif self.whole is not None:
            runtime_parameters(self.whole, net, len(given["photo"]))
        self._said: set[str] = set()
        self.method, self.layer = self._method_and_layer()

    def _method_and_layer(self) -> tuple[str, str | None]:
        from ..attribution import default_layer
        from ..objectives import Class

        if self.given.get("method", _USUAL) != "grad-cam":
            return self.given["method"], None
        if "layer" in self.given:
            return "grad-cam", self.net.layer(self.given["layer"]).name
        if "method" not in self.given and any(leaf.at_a_place for leaf in self._leaves()):
            self._note(f"Grad-CAM does not tell a place from others; the method is {_OTHERWISE}")
            return _OTHERWISE, None
        try:
            return "grad-cam", default_layer(self.net, self.whole or Class(0))
        except InputError as error:
            if "method" in self.given:
                raise
            self._note(f"{error.full}; the method is {_OTHERWISE}")
            return _OTHERWISE, None

    def _leaves(self) -> Sequence[Leaf]:
        return () if self.whole is None else self.whole.leaves()

    def objective(self, k: int, u: np.ndarray) -> Objective:
        """That of one photograph: its own of several targets, or its own best class."""
        from ..objectives import Class

        if self.whole is None:
            return Class(int(self.net.classes_of().ranked(self.net.scores(u), 1)[0, 0]))
        return self.whole.for_images([k], self.net)

    def map(self, explained: Objective, u: np.ndarray) -> np.ndarray:
        """The map of the method asked for, (H, W)."""
        from .. import attribution
        from ..filters import Sobolev

        more = keywords(self.given, _FORWARDED)
        if self.layer is not None:
            more["layer"] = self.layer
        if self.method == "sobolev-saliency" or "gamma" in self.given:
            more["filter"] = Sobolev(gamma=self.given.get("gamma", _GAMMA))
        if self.method == "integrated-gradients":
            more["reduce"] = "sum"
        compute = getattr(attribution, _METHODS[self.method])
        found: np.ndarray = compute(self.net, explained, u, device=self.device, **more)[0]
        return found

    def say_notes(self, explained: Objective) -> None:
        """What is to be known of the network and of an objective, each thing once."""
        for note in (*explained.notes(self.net), *self.net.notes()):
            self._note(note)

    def _note(self, note: str) -> None:
        if "quiet" not in self.given and note not in self._said:
            self._said.add(note)
            say_notes([note])


def _check_each(objective: Objective, photos: int) -> None:
    """InputError unless there is a target for all photographs, or for each."""
    from ..objectives import natural_batch

    count = natural_batch(objective)
    if count not in (1, photos):
        raise InputError(f"{count} targets were given for {photos} photographs; give one, or one for each")


def _device(given: Given) -> Device:
    device, *others = devices(given)
    if others:
        raise InputError("attribute takes a single --device")
    return device


def _attribute(photo: _Photo, k: int, asked: _Asked, target: Files) -> None:
    """Compute the map of a photograph, and write what it has of its own."""
    from ..pictures import fitted, heatmap, to_original, write_array, write_image

    net, given = asked.net, asked.given
    whole = photograph(net, given, photo.path, "sf.attribution")
    u = fitted(whole, net.input_shape[1:])[None]
    photo.objective = asked.objective(k, u)
    asked.say_notes(photo.objective)
    with _named_after(photo.path, len(given["photo"])):
        found = asked.map(photo.objective, u)
    if asked.method != "grad-cam" and not found.any() and "quiet" not in given:
        say_notes([f"the map of {photo.path} is zero everywhere"])
    if target.original:
        found = to_original(found, whole.shape[-2:])
    image = whole if target.original else u[0]
    how = keywords(given, _DRAWN)
    if "signed" in given:  # zero is in the middle also where nothing is below it
        how.setdefault("colormap", "blue-red")
    drawn = heatmap(found, image if "overlay" in given else None, **how)
    if target.pictures:
        photo.picture = write_image(target.pictures[k], drawn)
    if target.arrays:
        photo.array = write_array(target.arrays[k], found)
    photo.drawn = drawn if target.sheet is not None else None
    photo.map = found if target.stack is not None else None


@contextmanager
def _named_after(photo: str, count: int) -> Iterator[None]:
    """Warnings of maps with the name of their photograph, where there are several."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for each in caught:
        about = f"{photo}: " if count > 1 and issubclass(each.category, AssumptionWarning) else ""
        warnings.warn(f"{about}{told(each.message)}", each.category, stacklevel=3)


def _write_together(photos: Sequence[_Photo], target: Files) -> None:
    """Write the picture and the array of all photographs."""
    import numpy as np

    from ..pictures import tiled, write_array, write_image

    if not photos:
        return
    if target.sheet is not None:
        drawn = [photo.drawn for photo in photos]
        write_image(target.sheet, drawn[0] if len(drawn) == 1 else tiled(drawn))
    if target.stack is not None:
        write_array(target.stack, np.stack([photo.map for photo in photos]))


def _print(done: Sequence[_Photo], asked: _Asked, target: Files) -> None:
    """What was written, and what of."""
    own = "" if asked.whole is not None else " (the network's own top-1)"
    for photo in done if target.sheet is None else []:
        tell(f"wrote {photo.picture}: {asked.method} of {_called([photo], asked.net)}{own}")
    if target.sheet is not None and done:
        tell(f"wrote {target.sheet}: {asked.method} of {_called(done, asked.net)}{own}")
    for path in [*(photo.array for photo in done), target.stack if done else None]:
        if path is not None:
            tell(f"wrote {path}")


def _called(photos: Sequence[_Photo], net: Network) -> str:
    """What the maps of some photographs are of."""
    classes = [_classes(photo, net) for photo in photos]
    names = [
        known[0].split(",")[0] if known else str(photo.objective)
        for known, photo in zip(classes, photos, strict=True)
    ]
    return names[0] if len(set(names)) == 1 else "; ".join(names)


def _classes(photo: _Photo, net: Network) -> list[str] | None:
    of = None if photo.objective is None else indices(net, photo.objective)
    return None if of is None else [net.classes_of().name(k) for k in of]


def _outcome(
    photos: Sequence[_Photo],
    done: Sequence[_Photo],
    failed: Mapping[str, str],
    asked: _Asked,
    target: Files,
) -> dict[str, Any]:
    from ..objectives import Class

    classes = [name for photo in done for name in _classes(photo, asked.net) or []]
    tops = [k for photo in done if photo.objective for k in indices(asked.net, photo.objective) or []]
    whole = asked.whole or Class(tops)
    return {
        "picture": target.sheet and str(target.sheet),
        "array": target.stack and str(target.stack),
        "method": asked.method,
        "layer": asked.layer,
        "objective": whole.to_dict(),
        "classes": classes or None,
        "own_top1": asked.whole is None,
        "photos": [
            {
                "photo": photo.path,
                "picture": photo.picture and str(photo.picture),
                "array": photo.array and str(photo.array),
                "objective": photo.objective and photo.objective.to_dict(),
                "error": failed.get(photo.path),
            }
            for photo in photos
        ],
    }
