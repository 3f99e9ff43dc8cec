"""``sobolevflow rerun``: a run made again from its manifest, and held against what it had written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .given import BITS, DEVICES, OF_STRANGERS, check_outputs, devices, of_strangers
from .options import WORDS, Argument, Given, Group, Table, command
from .printing import FAILED, INTERRUPTED, JSON, OK, QUIET, print_json, say_notes, tell
from .types import COUNT, FILE, NEW_FILE, Kind

if TYPE_CHECKING:
    from ..results import Comparison, Saved


def _table() -> Table:
    return (
        # `Saved.check_kept` looks after it, for --overwrite replaces it with the picture
        Argument("manifest", "crab.manifest.json, which lies beside crab.png", Kind("FILE", writes=True)),
        Group(
            "network",
            (
                Argument("--model", "its ONNX file, where that is not where it was", FILE),
                Argument("--any-model", "take it also where its content is another", flag=True),
                Argument("--threads", "threads of onnxruntime (default: as of the run)", COUNT),
                *OF_STRANGERS,
            ),
        ),
        replace(DEVICES, arguments=DEVICES.arguments[:1], about="default: as of the run"),
        Group(
            "output",
            (
                Argument("-o/--output", "picture to write, and its manifest beside it", NEW_FILE),
                Argument("--npy", "also write the images themselves, (N, C, H, W) float32", NEW_FILE),
                replace(BITS, about=f"{BITS.about.split(' (default')[0]} (default: as of the run)"),
                Argument(
                    "--verify", "compare with what the run had written; exit code 1: not identical", flag=True
                ),
                Argument("--overwrite", "write also over the picture of the run itself", flag=True),
                *(QUIET, JSON),
            ),
        ),
    )


@command(
    "rerun",
    "make the run of a manifest again",
    "sobolevflow rerun crab.manifest.json --verify",
    _table,
)
def rerun(given: Given) -> int:
    """Write the picture, or say whether it is the same."""
    from ..descent import rerun
    from ..files import keep
    from ..results import Saved, manifest_path

    saved = Saved.read(given["manifest"])
    if not {"output", "verify"} & given.keys():
        raise InputError("say what to do with the run: -o FILE writes its picture, --verify compares it")
    if {"npy", "bits"} & given.keys() and "output" not in given:
        raise InputError(f"--{'npy' if 'npy' in given else 'bits'} needs -o FILE as well")
    if "output" in given:
        picture = Path(given["output"])
        written = (picture, manifest_path(picture), *([Path(given["npy"])] if "npy" in given else ()))
        saved.check_kept(written, "overwrite" in given)
        keep(saved.opened_files())
        check_outputs({"bits": saved.bits, **given}, manifest_path)
    result = rerun(
        given["manifest"],
        model=given.get("model"),
        any_model="any_model" in given,
        device=devices(given) if "device" in given else None,
        threads=given.get("threads"),
        **of_strangers(given),
        progress="quiet" not in given,
    )
    told = result.compare(given["manifest"]) if "verify" in given else None
    path = None
    if "output" in given:
        asked_by = result.asked_by(["sobolevflow", *given[WORDS]])
        path = asked_by.save(given["output"], bits=given.get("bits", saved.bits), array=given.get("npy"))
    _print(result.manifest["outcome"], saved, path, told, given)
    if "quiet" not in given:
        say_notes(result.notes)
    if told is not None and not told.identical:
        return FAILED
    return INTERRUPTED if result.interrupted and saved.manifest.outcome.stopped_by != "interrupt" else OK


def _print(
    outcome: dict[str, Any], saved: Saved, path: Path | None, told: Comparison | None, given: Given
) -> None:
    if "json" in given:
        compared = {} if told is None else {"identical": told.identical, "compared": list(told.found)}
        print_json({"picture": path and str(path), **compared, **outcome})
        return
    if path is not None:
        tell(f"wrote {path} ({outcome['steps']} steps)")
    if told is not None:
        for each in told.found:
            tell(str(each))
        tell("identical" if told.identical else f"not identical to the run of {saved.name}")
