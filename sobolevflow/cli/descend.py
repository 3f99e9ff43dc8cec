"""``sobolevflow visualize`` and ``invert``: from a grey picture to one that an objective likes."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputError, SobolevflowError
from ..named import Family, as_name, member, members
from .given import (
    BITS,
    DEVICES,
    MODEL,
    PICTURES,
    check_outputs,
    devices,
    indices,
    inversion,
    load,
    naming_owners,
    objective,
    objectives,
    of_entries,
    of_objectives,
    of_offered,
    say_notes_of,
)
from .options import WORDS, Argument, Given, Group, Table, check_belongs, command, keywords, words_in
from .printing import INTERRUPTED, JSON, OK, QUIET, print_json, say_notes, tell
from .scheme import NATURAL_COLOUR, said_of_settings, scheme, scheme_group
from .start import START, begun
from .types import FILE, NEW_FILE, Kind, counts, of_kind

if TYPE_CHECKING:
    from ..descent import Parameter
    from ..network import Network
    from ..objectives import Objective
    from ..results import Result

Task = Literal["visualize", "invert"]


# What the library takes several of, and the command line in one word.
_SEVERAL = {
    "snapshots": (Kind("N|N,N,...", counts), "; or after which steps, with commas between"),
}


def _declared(task: Task, group: str) -> tuple[Argument, ...]:
    """The parameters of a descent that the command line has under a heading."""
    from ..descent import parameters

    return tuple(_argument(each) for each in parameters(task) if each.kind and each.group == group)


def _argument(declared: Parameter) -> Argument:
    default = f" (default: {declared.otherwise})" if declared.otherwise else ""
    usual = of_kind(declared.kind or "text", declared.choices), ""
    kind, more = _SEVERAL.get(declared.name, usual)
    return Argument(f"--{declared.name.replace('_', '-')}", declared.about + more + default, kind)


def _common(task: Task) -> Table:
    return (
        Group("descent", (*_declared(task, "descent"), *_of_choices())),
        Group("start", START),
        DEVICES,
        Group(
            "output",
            (
                Argument("-o/--output", "picture to write (.png, .jpg, ...)", NEW_FILE, required=True),
                Argument("--report", "also write a self-contained HTML page", NEW_FILE),
                Argument("--npy", "also write the images themselves, (N, C, H, W) float32", NEW_FILE),
                *(BITS, *_declared(task, "output"), QUIET, JSON),
            ),
        ),
    )


def _visualize_table() -> Table:
    return (
        *MODEL,
        Argument(
            "--generator",
            "ONNX file of a generator (tanh) in front: descend along its code, and show what it draws",
            FILE,
        ),
        Group("objective", objectives("visualize"), "one of", only_one="must"),
        of_offered("visualize"),
        PICTURES,
        scheme_group(1000, NATURAL_COLOUR),
        *_common("visualize"),
    )


def _invert_table() -> Table:
    return (
        *MODEL,
        Argument("photo", "image files; several are inverted together", words="+"),
        Argument(
            "--layer",
            "layer whose features to reproduce (see inspect)",
            Kind("LAYER", as_name),
            required=True,
        ),
        *of_objectives(member("objective", "inversion")),
        PICTURES,
        scheme_group(300),
        *_common("invert"),
    )


@command(
    "visualize",
    "descend to an image that a class, channel, neuron or layer likes",
    'sobolevflow visualize model.onnx --class "king crab" --labels classes.txt --preprocess torch '
    "-o crab.png",
    _visualize_table,
)
def visualize(given: Given) -> int:
    """Write the picture."""
    from .. import descent

    _check_outputs(given)
    if "generator" in given and given.get("bits", 8) != 8:
        raise InputError("--bits 8 is all that a generator's pictures have; --npy keeps its code")
    net = load(given)
    asked = objective(net, given, "visualize")
    assert asked is not None  # the parser asks for one
    say_notes_of(net, given, asked.notes(net))
    result = _descend(descent.visualize, net, asked, given, "visualize", "fluid-elastic")
    return _finish(net, asked, result, given)


@command(
    "invert",
    "descend to an image whose features in a layer are those of a photograph",
    "sobolevflow invert model.onnx photo.jpg --layer features.12 --preprocess torch -o inverse.png",
    _invert_table,
)
def invert(given: Given) -> int:
    """Write the picture."""
    from .. import descent

    _check_outputs(given)
    net = load(given)
    asked = inversion(net, given["layer"], given["photo"], given)
    say_notes_of(net, given, asked.notes(net))
    return _finish(net, asked, _descend(descent.invert, net, asked, given, "invert", "fluid"), given)


def _descend(
    run: Callable[..., Result], net: Network, asked: Objective, given: Given, task: Task, usual: str
) -> Result:
    from ..descent import Octave

    table = (*_declared(task, "descent"), *_declared(task, "output"))
    partial = _partial(Path(given["output"]))
    parameters = keywords(given, table) | {"device": devices(given), "autosave": partial}
    if parameters.get("normalise") == "none":
        parameters["normalise"] = None
    octaves = parameters.get("octaves")
    if isinstance(octaves, list) and isinstance(octaves[0], tuple):
        parameters["octaves"] = [Octave(*each) for each in octaves]
    parameters |= _chosen(given) | begun(net, asked, given, parameters)
    parameters |= scheme(given, usual, net.input_shape[0])
    if "quiet" not in given:
        say_notes(said_of_settings(given))
    try:
        return run(net, asked, progress="quiet" not in given, **parameters)
    except SobolevflowError as error:
        _save_partial(error, given)
        raise


_CHOSEN: tuple[Family, ...] = ("optimizer", "parametrization")


def _of_choices() -> tuple[Argument, ...]:
    """What optimizers and parametrizations take besides."""
    return tuple(naming_owners(each) for family in _CHOSEN for each in of_entries(members(family)))


def _chosen(given: Given) -> dict[str, Any]:
    """The optimizer and the parametrization that were named, with what was said of them."""
    found: dict[str, Any] = {}
    for family in _CHOSEN:
        table = of_entries(members(family))
        check_belongs(given, table, f"--{family} ", given.get(family, "the default"))
        if family in given:
            own = [each for each in table if given[family] in each.belongs_to]
            found[family] = member(family, given[family]).make(**keywords(given, own))
    return found


def _check_outputs(given: Given) -> None:
    from ..results import manifest_path

    check_outputs(given, manifest_path, _partial)


def _partial(path: Path) -> Path:
    """Where the picture so far is kept during the run."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def _remove_partial(given: Given) -> None:
    path = _partial(Path(given["output"]))
    of_devices = path.parent.glob(f"{glob.escape(path.stem)}-[0-9]*{path.suffix}")
    for each in (path, *(each for each in of_devices if each.stem.rpartition("-")[2].isdecimal())):
        each.unlink(missing_ok=True)


def _save_partial(error: SobolevflowError, given: Given) -> None:
    """Keep the picture that a failed run had reached, and add to the error where."""
    partial: Result | None = getattr(error, "result", None)
    if partial is not None:
        path = partial.save(given["output"], bits=given.get("bits", 8))
        error.add_note(f"Saved what there was to {str(path)!r}.")
        _partial(Path(given["output"])).unlink(missing_ok=True)  # those of other devices stay


def _finish(net: Network, asked: Objective, result: Result, given: Given) -> int:
    from ..results import manifest_path

    try:
        path, array, report = _written(result, given)
    except KeyboardInterrupt:  # at this very moment: what took hours is kept
        _written(result, given)
        raise
    top = _judged(net, result)
    if "json" in given:
        names = None if top is None else [net.classes_of().name(k) for k in top]
        outcome = {"picture": str(path), "manifest": str(manifest_path(path)), "top1": names}
        print_json(
            {
                **outcome,
                "report": report and str(report),
                "array": array,
                **result.manifest["outcome"],
            }
        )
    else:
        _print_outcome(result, path, report)
        if array is not None:
            tell(f"wrote {array}")
        _print_judgement(net, top, indices(net, asked))
    if "quiet" not in given:
        before = asked.notes(net)
        say_notes(note for note in result.notes if note not in before)
    return INTERRUPTED if result.interrupted else OK


def _written(result: Result, given: Given) -> tuple[Path, str | None, Path | None]:
    """Write all that was asked for: the picture, the array, the report."""
    array = given.get("npy")
    asked_by = result.asked_by(["sobolevflow", *given[WORDS]], _files(given))
    path = asked_by.save(given["output"], bits=given.get("bits", 8), array=array)
    report = result.report(given["report"]) if "report" in given else None
    _remove_partial(given)
    return path, array, report


# What is written, or has its content recorded elsewhere in a manifest.
_NO_INPUTS = ("output", "report", "npy", "model", "generator", WORDS)


def _files(given: Given) -> list[str]:
    """The files that were named as inputs."""
    words = [word for key, value in given.items() if key not in _NO_INPUTS for word in words_in(value)]
    return [word for word in dict.fromkeys(words) if os.path.isfile(word)]


def _judged(net: Network, result: Result) -> list[int] | None:
    """Which class the network itself sees in each image; None where it has none, or sees only a part."""
    if result.u.shape[1:] != net.input_shape:
        return None
    try:
        return [int(k) for k in net.classes_of().ranked(net.scores(result.u), 1)[:, 0]]
    except SobolevflowError:
        return None


def _print_outcome(result: Result, path: Path, report: Path | None) -> None:
    steps, first, last = len(result.history), result.history.value, result.value
    change = "" if last is None or not steps else f", value {first[0].mean():.4g} -> {last.mean():.4g}"
    seconds = result.manifest["timings"]["seconds"]
    tell(f"wrote {path} ({steps} steps in {seconds:.1f} s{change})")
    if report is not None:
        tell(f"wrote {report}")


def _print_judgement(net: Network, top: list[int] | None, asked: list[int] | None) -> None:
    """The network's own top-1 of each image, by the first of the class's names."""
    if top is None:
        return
    wanted = asked * len(top) if asked and len(asked) == 1 else asked or top
    words = [
        net.classes_of().name(k).split(",")[0] + ("" if k == w else " (not the class asked for)")
        for k, w in zip(top, wanted, strict=True)
    ]
    tell(f"the network's own top-1: {'; '.join(words)}")
