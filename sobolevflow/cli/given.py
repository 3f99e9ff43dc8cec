"""From options to calls: the network, what is asked of it, photographs, devices."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..named import Named, Option, member, members
from .options import Argument, Given, Group, Table, check_belongs, from_option, keywords
from .printing import say_notes
from .types import COUNT, FILE, NATURAL, Kind, input_shape, named_file, one_of, value_range

if TYPE_CHECKING:
    from ..devices import Device
    from ..network import Network
    from ..objectives import Objective

_OF_THE_MODEL = (
    Argument(
        "--preprocess",
        "torch, caffe, tf, none, or scale, mean, std, order, layout as JSON, in a file or written out",
        Kind("NAME|FILE|JSON"),
    ),
    Argument("--labels", "class names, one a line", FILE),
    Argument("--background", "1: output 0 is a background class", Kind(read=int, choices=(0, 1))),
    Argument("--input-shape", "for models that leave their size open", Kind("[Cx]HxW", input_shape)),
    Argument(
        "--input",
        "an input beside the image; a picture is pre-processed, and fitted to its size, a .npy array goes in "
        "as it is; may be repeated",
        Kind("NAME=FILE", named_file),
        repeat=True,
    ),
    Argument(
        "--scores",
        "output of the file that holds the class scores (default: the first that may)",
        Kind("OUTPUT"),
        keyword="output",
    ),
    Argument("--threads", "threads of onnxruntime (default: all cores)", COUNT),
)

MODEL: Table = (
    Argument("model", "ONNX file, or builtin:shapes-vgg, builtin:shapes-dense"),
    Group("model", _OF_THE_MODEL),
)


def load(given: Given) -> Network:
    """The network asked for, behind a generator where one was given."""
    from ..network import compose, load

    more = keywords(given, _OF_THE_MODEL)
    if "input" in given:
        more["inputs"] = _inputs(more.pop("input"), of_pictures(given))
    opened = partial(compose, given["generator"]) if "generator" in given else load
    net: Network | None = None
    try:
        with warnings.catch_warnings(record=True) as warned:
            net = opened(given["model"], **more)
    finally:
        said = net.notes() if net is not None and warned else ()  # they say the same of what is announced
        for each in warned:
            if str(each.message) not in said:
                warnings.showwarning(each.message, each.category, each.filename, each.lineno)
    return net


def _inputs(asked: Sequence[tuple[str, str]], how_read: dict[str, Any]) -> dict[str, Any]:
    """The values of inputs beside the image: arrays of NumPy as they are, everything else as pictures."""
    from ..network import Image
    from ..objectives import read_vector

    found: dict[str, Any] = {}
    for name, path in asked:
        if name in found:
            raise InputError(f"--input {name} is given twice")
        found[name] = read_vector(path) if path.endswith(".npy") else Image(path, **how_read)
    return found


def say_notes_of(net: Network, given: Given, of_gradient: Sequence[str]) -> None:
    """What is to be said of the network, and of the objective or its gradient."""
    if "quiet" not in given:
        say_notes((*of_gradient, *net.notes()))


PICTURES = Group(
    "photos",
    (
        Argument(
            "--range",
            "numbers in a photo's file that are black and white; auto: its smallest and largest "
            "(default: what the file says)",
            Kind("LOW:HIGH|auto", value_range),
        ),
        Argument("--page", "page of a stack, or frame of an animation, from 0 (default: 0)", NATURAL),
    ),
    "how their files are read",
)
"""How photographs are read."""


def of_pictures(given: Given) -> dict[str, Any]:
    """What was said of how photographs are read, for `read_image` and `read_planes`."""
    return keywords(given, PICTURES.arguments)


def photographs(net: Network, given: Given, paths: Sequence[str], elsewhere: str) -> Any:
    """Photographs as the network takes them, (N, C, H, W); `elsewhere` is what to use for other images."""
    import numpy as np

    from ..pictures import read_image

    channels, *size = net.input_shape
    if channels not in (1, 3):
        raise InputError(
            f"{net.name} takes {channels} channels, but pictures have 1 or 3; "
            f"build the input as an array and use {elsewhere} in Python"
        )
    return np.stack([read_image(path, size, channels, **of_pictures(given)) for path in paths])


def _offered(task: str) -> list[Named]:
    """The objectives that a command offers: classes first, then those of one word, each by name."""
    offered = [e for e in members("objective").values() if task in e.facts.get("commands", ())]
    return sorted(offered, key=lambda e: (e.name != "class", e.facts["nargs"], e.name))


def _option(entry: Named) -> Argument:
    facts = entry.facts
    again = "; repeat for a batch" if facts["repeat"] else ""
    return Argument(
        f"--{entry.name}", facts["about"] + again, Kind(facts["metavar"], facts["parse"]), repeat=True
    )


def objectives(task: str) -> tuple[Argument, ...]:
    """The objectives that a command offers."""
    return tuple(map(_option, _offered(task)))


def of_objectives(*entries: Named) -> tuple[Argument, ...]:
    """What some objectives take besides, as the exponent of an inversion."""
    owners: dict[Option, list[str]] = {}
    for entry in entries:
        for option in entry.options:
            owners.setdefault(option, []).append(_option(entry).long)
    return tuple(from_option(option, tuple(longs)) for option, longs in owners.items())


def of_offered(task: str) -> tuple[Argument, ...]:
    """What the objectives that a command offers take besides."""
    return of_objectives(*_offered(task))


def objective(net: Network, given: Given, task: str) -> Objective | None:
    """The objective asked for; None where there is none."""
    for entry in _offered(task):
        option = _option(entry)
        if option.key in given:
            check_belongs(given, of_offered(task), "", option.long)
            return read(entry, given[option.key], net, given)
    return None


def inversion(net: Network, layer: str, paths: Sequence[str], given: Given) -> Objective:
    """What reproduces the features of photographs in a layer."""
    return read(member("objective", "inversion"), [(layer, path) for path in paths], net, given)


def read(entry: Named, asked: Sequence[Any], net: Network, given: Given) -> Objective:
    """An objective from what was written of it."""
    facts, more = entry.facts, keywords(given, of_objectives(entry))
    if len(asked) > 1 and not facts["repeat"]:
        raise InputError(f"--{entry.name} is given once{facts['instead'] and '; ' + facts['instead']}")
    made: Objective = facts["read"](asked, net, partial(photographs, net, given), **more)
    return made


def indices(net: Network, asked: Objective) -> list[int] | None:
    """Output indices of the classes asked for; None where the objective is no class."""
    from ..objectives import Class

    return asked.indices(net) if isinstance(asked, Class) else None


_DEVICE_NAMES = Argument(
    "--device",
    "where to compute: cpu, cuda, cuda:1, or another of onnxruntime's providers, such as coreml; several, "
    "cuda:0,cuda:1, share the batch; 'sobolevflow doctor' checks one (default: cpu)",
    Kind("NAME"),
)

_OF_THE_DEVICE = (
    Argument(
        "--precision",
        "of the network; the image and all filters stay float32 (default: float32)",
        one_of("float32", "float16"),
    ),
    Argument("--tf32", "on CUDA: let convolutions round to 10 bits, which is faster", flag=True),
)

DEVICE = (_DEVICE_NAMES, *_OF_THE_DEVICE)


def devices(given: Given) -> list[Device]:
    """Where to compute."""
    from ..devices import Device

    more = keywords(given, _OF_THE_DEVICE)
    return [Device(name, **more) for name in given.get("device", "cpu").split(",")]


def check_outputs(given: Given) -> None:
    """Fail on an output that cannot be written before the work, not after it."""
    from ..pictures import check_writable

    check_writable(given["output"])
    if "report" in given:
        check_writable(given["report"], endings=(".html", ".htm"))
    if "npy" in given:
        check_writable(given["npy"], endings=(".npy",))
