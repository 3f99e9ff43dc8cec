"""From options to calls: the network, what is asked of it, photographs, devices."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ImageError, InputError, SobolevflowError, UnknownNameError, did_you_mean
from ..named import Named, Option, as_name, member, members
from .options import Argument, Given, Group, Table, check_belongs, from_option, keywords
from .printing import NOTES, say, say_notes, told
from .types import COUNT, FILE, NATURAL, Kind, input_shape, integer, limit, named_file, one_of, value_range

if TYPE_CHECKING:
    from ..devices import Device
    from ..network import Network
    from ..objectives import Objective

_OF_THE_MODEL = (
    Argument(
        "--preprocess",
        "torch, caffe, tf, none, or scale, mean, std, order, layout as JSON, in a file or written out, or "
        "Hugging Face's preprocessor_config.json, or timm's config.json",
        Kind("NAME|FILE|JSON"),
    ),
    Argument(
        "--labels",
        "class names: text, one a line, numbered or behind synsets, CSV, JSON, YAML, or a folder",
        FILE,
    ),
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
        "which of the model's outputs holds the class scores (default: the likeliest, which inspect marks)",
        Kind("OUTPUT"),
        keyword="output",
    ),
    Argument("--threads", "threads of onnxruntime (default: all cores)", COUNT),
)

OF_STRANGERS = (
    Argument(
        "--isolate",
        "look at the model in another process first, which may die; takes a second or two more",
        flag=True,
    ),
    Argument(
        "--limit",
        "what opening the model may cost, such as nodes=1e6, by the fields of sf.Limits; may be repeated",
        Kind("NAME=NUMBER", limit),
        repeat=True,
        keyword="limits",
    ),
)
"""Of files that nobody vouches for."""

MODEL: Table = (
    Argument("model", "ONNX file, or builtin:shapes-vgg, builtin:shapes-dense"),
    Group("model", (*_OF_THE_MODEL, *OF_STRANGERS)),
)


def of_strangers(given: Given) -> dict[str, Any]:
    """What was said of files that nobody vouches for, as keyword arguments of `load`."""
    from ..onnxgrad import Limits

    found = keywords(given, OF_STRANGERS)
    if "limits" in found:
        asked, known = dict(found["limits"]), [each.name for each in fields(Limits)]
        for name in asked:
            if name not in known:
                raise UnknownNameError(
                    f"there is no limit {name!r}, but {', '.join(known)}.{did_you_mean(name, known)}"
                )
        found["limits"] = Limits(**asked)
    return found


def load(given: Given) -> Network:
    """The network asked for, behind a generator where one was given."""
    from ..files import keep
    from ..network import compose, load

    more = {**keywords(given, _OF_THE_MODEL), **of_strangers(given)}
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
            if told(each.message) not in said:
                warnings.showwarning(each.message, each.category, each.filename, each.lineno)
    keep(net.files)
    return net


def _inputs(asked: Sequence[tuple[str, str]], how_read: dict[str, Any]) -> dict[str, Any]:
    """The values of inputs beside the image: arrays of NumPy as they are, everything else as pictures."""
    from ..network import Image
    from ..objectives import holds_array, read_vector

    found: dict[str, Any] = {}
    for name, path in asked:
        if name in found:
            raise InputError(f"--input {name} is given twice")
        found[name] = read_vector(path) if holds_array(path) else Image(path, **how_read)
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


def photographs(
    net: Network, given: Given, paths: Sequence[str], elsewhere: str, size: Sequence[int] = ()
) -> Any:
    """Photographs as the network takes them, (N, C, H, W).

    Parameters
    ----------
    elsewhere
        What takes an array in Python, for a message.
    size
        (H, W), where it is another than the network's.
    """
    import numpy as np

    from ..pictures import fitted

    size = size or net.input_shape[1:]
    return np.stack([fitted(photograph(net, given, path, elsewhere), size) for path in paths])


def photograph(net: Network, given: Given, path: str, elsewhere: str) -> Any:
    """A photograph of its own size with as many channels as the network takes, (C, H, W)."""
    from ..pictures import read_image

    channels = net.input_shape[0]
    try:
        return read_image(path, None, channels, **of_pictures(given))
    except ImageError as error:
        if channels in (1, 3):
            raise
        raise ImageError(
            f"{error.full} {net.name} takes {channels} channels; in Python {elsewhere} takes an array."
        ) from None


@contextmanager
def each_by_itself(photo: str, photos: Sequence[str], failed: dict[str, str]) -> Iterator[None]:
    """What is done with one of several photographs: where it fails that is said, and the others are done.

    Parameters
    ----------
    failed
        The photographs that failed, each with its error, to which this one is added.
    """
    try:
        with NOTES.held_back():
            yield
    except SobolevflowError as error:
        if len(photos) == 1:
            raise
        failed[photo] = told(error)
        about = "" if photo in failed[photo] else f"{photo}: "
        say(f"error: {about}{failed[photo]}")


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


def _with_names(metavar: str | tuple[str, ...], words: Any) -> Any:
    """What was written, the layers in it as the network spells them."""
    if isinstance(metavar, str):
        return as_name(words) if metavar == "LAYER" else words
    return tuple(as_name(word) if of == "LAYER" else word for of, word in zip(metavar, words, strict=True))


def objectives(task: str) -> tuple[Argument, ...]:
    """The objectives that a command offers."""
    return tuple(map(_option, _offered(task)))


def of_objectives(*entries: Named) -> tuple[Argument, ...]:
    """What some objectives take besides, as the exponent of an inversion."""
    return of_entries({_option(entry).long: entry for entry in entries})


def of_entries(entries: Mapping[str, Named]) -> tuple[Argument, ...]:
    """What some entries take, each option with all that have it, by how a message calls them."""
    owners: dict[Option, list[str]] = {}
    for called, entry in entries.items():
        for option in entry.options:
            owners.setdefault(option, []).append(called)
    return tuple(from_option(option, tuple(called)) for option, called in owners.items())


def of_offered(task: str) -> Group:
    """What the objectives that a command offers take besides."""
    return Group("of an objective", tuple(map(naming_owners, of_objectives(*_offered(task)))))


def naming_owners(option: Argument) -> Argument:
    """The option with those that have it in its help text."""
    owners = ", ".join(each.lstrip("-") for each in option.belongs_to)
    return replace(option, about=f"{owners}: {option.about}")


def objective(net: Network, given: Given, task: str) -> Objective | None:
    """The objective asked for; None where there is none."""
    for entry in _offered(task):
        option = _option(entry)
        if option.key in given:
            check_belongs(given, (of_offered(task),), "", option.long)
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
    words = [_with_names(facts["metavar"], each) for each in asked]
    made: Objective = facts["read"](words, net, partial(photographs, net, given), **more)
    return made.named_in(net)


def indices(net: Network, asked: Objective) -> list[int] | None:
    """The classes asked for, as labels count them; None where the objective is no class."""
    from ..objectives import Class

    if not isinstance(asked, Class):
        return None
    return [k - net.classes_of(asked.output).offset for k in asked.indices(net)]


_DEVICE_NAME = Argument(
    "--device",
    "where to compute: cpu, cuda, cuda:1, or another of onnxruntime's providers, such as coreml (default: "
    "cpu); 'sobolevflow doctor' checks one",
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

DEVICE = Group("device", (_DEVICE_NAME, *_OF_THE_DEVICE))
"""One of them."""

DEVICES = Group(
    "device",
    (
        replace(_DEVICE_NAME, about=f"{_DEVICE_NAME.about}; several, cuda:0,cuda:1, share the batch"),
        *_OF_THE_DEVICE,
    ),
)
"""One or several."""


def devices(given: Given) -> list[Device]:
    """Where to compute."""
    from ..devices import Device

    more = keywords(given, _OF_THE_DEVICE)
    return [Device(name, **more) for name in given.get("device", "cpu").split(",")]


BITS = Argument(
    "--bits",
    "of a value: 8, 16 (.png, .tif), or 32 for floating point (.tif) that is not clipped (default: 8)",
    Kind("N", integer, (8, 16, 32)),
)


ARRAYS = (".npy",)
"""How the name of a file that an array is written to ends."""


def check_outputs(given: Given, *beside: Callable[[Path], Path]) -> None:
    """Fail on an output that cannot be written before the work, not after it.

    Parameters
    ----------
    beside
        From the path of the picture to those of files that are written as well.
    """
    from ..files import check_apart, check_output
    from ..pictures import check_bits, check_writable
    from ..results import PAGES

    picture = check_writable(given["output"])
    check_bits(picture, given.get("bits", 8))
    more = {name: endings for name, endings in (("report", PAGES), ("npy", ARRAYS)) if name in given}
    for name, endings in more.items():
        check_output(given[name], endings)
    others = [check_output(path(picture)) for path in beside]
    check_apart([picture, *(given[name] for name in more), *others])
