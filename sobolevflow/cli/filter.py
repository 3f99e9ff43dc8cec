"""``sobolevflow filter``: pictures smoothed by one of the operators that have a name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .given import PICTURES, of_pictures
from .operators import DEFAULT, operator, operators, options
from .options import Argument, Given, Group, Table, command
from .printing import JSON, OK
from .types import Kind, one_of

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
                Argument("-o/--output", "picture to write; a folder for several photos", Kind("FILE|FOLDER")),
                Argument(
                    "--npy",
                    "also write (C, H, W) float32, the range as [0, 1], not clipped",
                    Kind("FILE|FOLDER"),
                ),
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
    if "npy" in given and "output" not in given:
        raise InputError("--npy needs -o FILE as well")
    photos = given["photo"]
    planned = photos if "plan" in given else []
    plans = [str(K.plan(picture_filter.planes_of(_read(Path(photo), given)).shape)) for photo in planned]
    jobs = picture_filter.jobs(photos, given["output"], given.get("npy")) if "output" in given else []
    done = [picture_filter.filter_picture(job, _read(job.photo, given), K) for job in jobs]
    if "json" in given:
        print(json.dumps({"operator": to_dict(K), "plans": plans, "written": done}))
        return OK
    for photo, plan in zip(photos, plans, strict=False):
        print(f"{photo}: {plan}")
    for facts in done:
        print(f"wrote {facts['picture']}" + _how_solved(facts))
        if facts["array"] is not None:
            print(f"wrote {facts['array']}")
    return OK


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
