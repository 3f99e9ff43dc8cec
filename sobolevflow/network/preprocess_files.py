"""Pre-processing as the configurations of other libraries write it, in the fields of `Preprocess`.

Hugging Face has it in ``preprocessor_config.json``, timm under ``pretrained_cfg`` of ``config.json``,
OpenCLIP under ``preprocess_cfg``. What they say of sizes has no field: photographs are fitted to the
network's input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import checks
from ..errors import InputError

USUAL_FILES = ("preprocessor_config.json", "processor_config.json", "config.json", "open_clip_config.json")
"""What files of pre-processing are called, in the order in which a folder is searched for them."""

_HUGGING_FACE = frozenset(("image_mean", "image_std", "rescale_factor", "do_rescale", "do_normalize")) | {
    "image_processor_type",
    "feature_extractor_type",
}
_WRAPPED = ("image_processor", "pretrained_cfg", "preprocess_cfg")
_PAIR = ("mean", "std")  # as timm and OpenCLIP call them, of values in [0, 1]
_BYTES = 255.0

# What Hugging Face does to the shape or the content of a picture, that is no scale and shift: by what a file
# says that it does, and the sizes that it states for it.
_SHAPING = {
    "do_resize": "size",
    "do_center_crop": "crop_size",
    "do_pad": "pad_size",
    "do_thumbnail": "size",
    "do_align_long_axis": None,
    "do_color_quantize": None,
}


def is_configuration(data: Mapping[str, Any]) -> bool:
    """Whether a mapping is the configuration of another library, and says something of pre-processing."""
    if any(isinstance(data.get(key), Mapping) for key in _WRAPPED) or _HUGGING_FACE.intersection(data):
        return True
    return set(_PAIR) <= set(data) and ("input_size" in data or "interpolation" in data)


def of_configuration(data: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[str]]:
    """The fields of `Preprocess` from another library's configuration, and what they cannot express.

    Raises
    ------
    InputError
        It does not say what becomes of the values.
    """
    for key in _WRAPPED:
        if isinstance(data.get(key), Mapping):
            return of_configuration(data[key], f"{name}: {key}")
    if _HUGGING_FACE.intersection(data):
        return _of_hugging_face(data, name)
    missing = [key for key in _PAIR if key not in data]
    if missing:
        raise InputError(f"{name}: has no {missing[0]!r}; expected mean and std of values in [0, 1]")
    return {key: data[key] for key in _PAIR}, _sizes_of_timm(data, name)


def _of_hugging_face(data: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[str]]:
    """x = (255 u * rescale_factor - image_mean) / image_std, each step where it is switched on."""
    scale, mean, std = _BYTES, [0.0], [1.0]
    if _is_on(data, "do_rescale"):
        factor = data.get("rescale_factor") or 1 / _BYTES
        if not checks.is_number(factor):
            checks.refuse(factor, f"{name}: rescale_factor", "a number")
        scale = round(_BYTES * float(factor), 12)  # 255 / 255 is 1, however the factor was rounded
        if data.get("rescale_offset", False):
            mean = [1.0]
    if _is_on(data, "do_normalize"):
        missing = [key for key in ("image_mean", "image_std") if data.get(key) is None]
        if missing:
            raise InputError(
                f'{name}: has no {missing[0]!r}; expected image_mean and image_std, or "do_normalize": false'
            )
        offset = mean[0]
        mean = [m + offset for m in _numbers(data["image_mean"], f"{name}: image_mean")]
        std = _numbers(data["image_std"], f"{name}: image_std")
    found: dict[str, Any] = {"scale": scale, "mean": mean, "std": std}
    if data.get("do_flip_channel_order", False):
        found["order"] = "bgr"
    return found, _shapes_of_hugging_face(data, name)


def _is_on(data: Mapping[str, Any], step: str) -> bool:
    """Whether a step is taken: it is, unless the file says no."""
    return data.get(step) is None or bool(data[step])


def _numbers(value: Any, name: str) -> list[float]:
    values = value if isinstance(value, (list, tuple)) else [value]
    if not values or not all(map(checks.is_number, values)):
        checks.refuse(value, name, "a number or a list of numbers")
    return [float(v) for v in values]


def _shapes_of_hugging_face(data: Mapping[str, Any], name: str) -> list[str]:
    steps = [
        step.removeprefix("do_").replace("_", " ") + _size_of(data.get(size) if size else None)
        for step, size in _SHAPING.items()
        if data.get(step)
    ]
    return _not_done(steps, name)


def _sizes_of_timm(data: Mapping[str, Any], name: str) -> list[str]:
    share = data.get("crop_pct")
    if share is None or not checks.is_number(share) or float(share) == 1:
        return []
    return _not_done([f"crop to {float(share):.4g} of the size"], name)


def _size_of(size: Any) -> str:
    """A size as messages have it, from a number or from edges by their names."""
    if isinstance(size, Mapping):
        return " (" + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in size.items()) + ")"
    return f" ({size})" if checks.is_integer(size) else ""


def _not_done(steps: list[str], name: str) -> list[str]:
    if not steps:
        return []
    said = ", ".join(steps)
    return [
        f"{name}: its steps {said} are not taken: a photograph is fitted to the network's input, which it "
        "just covers, and cut at the centre"
    ]
