"""``sobolevflow filter``: pictures smoothed by one of the operators that have a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .given import BITS, PICTURES, each_by_itself, of_pictures
from .operators import DEFAULT, operator, operators, options
from .options import Argument, Given, Group, Table, command
from .printing import FAILED, JSON, OK, print_json, tell
from .types import NEW_FILE_OR_FOLDER, one_of

if TYPE_CHECKING:
    from ..pictures import Planes


def _of_filters() -> tuple[Argument, ...]:
    return options(operators("filter"))


def _table() -> Table:
    names = one_of(*operators("filter"))
    return (
        Argument("photo", "image files", words="+"),
        Argument("--filter", f"which filter (default: {DEFAULT})", names, default=DEFAULT),
        Group("how", _of_filters(), "default: size 11, strength by the support rule"),
        PICTURES,
        Group(
            "output",
            (
                Argument("-o/--output", "picture to write; a folder for several photos", NEW_FILE_OR_FOLDER),
                Argument(
                    "--npy",
                    "also write (C, H, W) float32, the range as [0, 1], not clipped",
                    NEW_FILE_OR_FOLDER,
                ),
                replace(BITS, about=f"{BITS.about.split(' (default')[0]} (default: as the photo has)"),
                Argument("--plan", "print how each photo is filtered; -o may be absent", flag=True),
                *(Argument("--quiet", "no notes", flag=True), JSON),
            ),
        ),
    )


@command(
    "filter",
    "smooth pictures by a linear filter, by total variation, or so that edges stay",
    "sobolevflow filter photo.jpg --filter sobolev --gamma 4 -o out.png",
    _table,
)
def filter_pictures(given: Given) -> int:
    """Write the filtered pictures, or print how they would be filtered."""
    from ..maps import to_dict
    from . import picture_filter

    K = _operator(given)
    if not {"output", "plan"} & given.keys():
        raise InputError("the following argument is missing: -o FILE (only --plan does without)")
    if {"npy", "bits"} & given.keys() and "output" not in given:
        raise InputError(f"--{'npy' if 'npy' in given else 'bits'} needs -o FILE as well")
    photos = given["photo"]
    jobs: list[Any] = [None] * len(photos)
    if "output" in given:
        jobs = picture_filter.jobs(photos, given["output"], given.get("npy"), given.get("bits"))
    plans: list[tuple[str, str]] = []
    done: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    for photo, job in zip(photos, jobs, strict=True):
        with each_by_itself(photo, photos, failed):
            picture = _read(Path(photo), given)
            if "plan" in given:
                plans.append((photo, str(K.plan(picture_filter.planes_of(picture).shape))))
            if job is not None:
                done.append(picture_filter.filter_picture(job, picture, K))
    if "json" in given:
        outcome = {"operator": to_dict(K), "plans": [plan for _, plan in plans], "written": done}
        print_json({**outcome, "failed": list(failed), "errors": failed})
    else:
        _print_outcome(plans, done)
    return FAILED if failed else OK


def _print_outcome(plans: Sequence[tuple[str, str]], done: Sequence[dict[str, Any]]) -> None:
    for photo, plan in plans:
        tell(f"{photo}: {plan}")
    for facts in done:
        tell(f"wrote {facts['picture']}" + _how_solved(facts))
        if facts["array"] is not None:
            tell(f"wrote {facts['array']}")


def _read(photo: Path, given: Given) -> Planes:
    from ..pictures import read_planes

    return read_planes(photo, **of_pictures(given))


def _operator(given: Given) -> Any:
    """The filter, or other map of an image, that was asked for."""
    name = given["filter"]
    made = operator(operators("filter")[name], _of_filters(), given)
    if "plan" in given and not hasattr(made, "plan"):
        raise InputError(f"--plan is for linear filters; --filter {name} is none")
    return made


def _how_solved(facts: dict[str, Any]) -> str:
    """The iterations of an iterative operator, and whether they were enough; nothing for others."""
    if "iterations" not in facts:
        return ""
    enough = "" if facts["converged"] else ", not converged: raise --tol or lower --weight"
    return f" ({facts['iterations']} iterations{enough})"
