"""From the image u in [0, 1] to what a network was trained on: x = (u * scale - mean) / std.

Channels may be reversed (BGR) and moved last (NHWC). The map is affine, so it is folded
into the gradient graph as one 1x1 convolution and its derivative cannot be forgotten.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from ..arrays import borrow_numbers, library, to_host
from ..capacity import check_fits
from ..errors import InputError, InputFileError, did_you_mean
from .preprocess_files import USUAL_FILES, is_configuration, of_configuration
from .text_files import TextFile, find_beside, parsed_json

_LARGEST = float(np.finfo(np.float32).max)
_MOST_MIXED = 4096  # channels; the matrix that mixes them then has 16 million entries

FLAG = """--preprocess '{"scale": 255}'"""


@dataclass(frozen=True)
class Preprocess:
    """Affine pre-processing, ``x = (u * scale - mean) / std`` per channel.

    Parameters
    ----------
    scale : float
        Factor that takes u from [0, 1] to the unit of `mean` (1 or 255, say).
    mean, std : tuple of float
        Per channel, in the *network's* channel order, or one number for all channels.
    order : {"rgb", "bgr"}
        The network's channel order. "bgr" reverses the channels of u.
    layout : {"auto", "nchw", "nhwc"}
        Where the network's input has its channels; "auto" reads it from the input's shape.

    Examples
    --------
    >>> Preprocess.named("tf")
    Preprocess(scale=2.0, mean=(1.0,), std=(1.0,), order='rgb', layout='auto')
    """

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    order: str = "rgb"
    layout: str = "auto"

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, _floats(name, getattr(self, name)))
        scales = _floats("scale", self.scale)
        if len(scales) > 1:
            checks.refuse(self.scale, "preprocess scale", "one number for all channels; std has one for each")
        object.__setattr__(self, "scale", scales[0])
        if not isinstance(self.order, str) or self.order not in ("rgb", "bgr"):
            checks.refuse(self.order, "preprocess order", "'rgb' or 'bgr'")
        if not isinstance(self.layout, str) or self.layout not in ("auto", "nchw", "nhwc"):
            checks.refuse(self.layout, "preprocess layout", "'auto', 'nchw' or 'nhwc'")
        if 0 in self.std or self.scale == 0:
            raise InputError("preprocess std and scale must not be zero")
        if max(map(abs, (self.scale, *self.mean))) / min(map(abs, self.std)) > _LARGEST:
            raise InputError(
                f"preprocess scale, mean and std make numbers beyond single precision: the least std is "
                f"{min(map(abs, self.std))}; give those that the network was trained with"
            )

    @classmethod
    def named(cls, name: str) -> Preprocess:
        """One of the conventions "torch", "caffe", "tf", "none".

        torch: RGB, ImageNet mean and std of values in [0, 1]. caffe: BGR, 0 to 255, minus
        (103.939, 116.779, 123.68). tf: RGB in [-1, 1]. none: u as it is.
        """
        if checks.text(name, "the name of a pre-processing") not in CONVENTIONS:
            raise InputError(
                f"unknown preprocessing {name!r}.{did_you_mean(name, CONVENTIONS)} "
                f"Known: {', '.join(CONVENTIONS)}, or a file: JSON with scale, mean, std, order, layout, a "
                "preprocessor_config.json of Hugging Face, or a config.json of timm"
            )
        return CONVENTIONS[name]

    @classmethod
    def of(cls, what: PreprocessSource | None) -> Preprocess:
        """Anything a user may say: an instance, a convention, a mapping, or JSON, as text or a file.

        Mappings and files may be configurations of Hugging Face, timm or OpenCLIP.
        """
        return cls._of_said(said(what))

    @classmethod
    def for_input(cls, what: PreprocessSource | None, name: str, declared: str) -> tuple[Preprocess, bool]:
        """The pre-processing in front of an input of a declared type, and whether its unit was assumed.

        Bytes count 0 to 255 unless `what` has a scale, mean or std; other integers have no usual unit.

        Raises
        ------
        InputError
            The input takes integers other than uint8, and `what` does not say what they mean.
        """
        content = said(what)
        preprocess = cls._of_said(content)
        speaks = isinstance(content, Preprocess) or {"scale", "mean", "std"}.intersection(content)
        if speaks or "int" not in declared:
            return preprocess, False
        if declared == "uint8":
            return replace(preprocess, scale=255.0), True
        usual, means = '{"scale": 255}', "0 to 255"
        if declared == "int8":
            usual, means = '{"scale": 255, "mean": 128}', "-128 to 127"
        raise InputError(
            f"the input {name!r} is declared {declared}, and nothing says what its numbers mean; say how an "
            f'image in [0, 1] becomes them: preprocess={usual} for {means}, "caffe", "none" for [0, 1] as it '
            f"is, or a JSON file (--preprocess '{usual}', caffe, none, or FILE)"
        )

    @classmethod
    def _of_said(cls, content: Preprocess | dict[str, Any]) -> Preprocess:
        return content if isinstance(content, Preprocess) else cls._from_dict(content)

    @classmethod
    def _from_dict(cls, data: dict[str, Any]) -> Preprocess:
        known = [f.name for f in fields(cls)]
        unknown = [key for key in data if key not in known]
        if unknown:
            raise InputError(
                f"unknown preprocess key {checks.shown(unknown[0])}; known: {', '.join(known)}, or those of "
                "Hugging Face's preprocessor_config.json (image_mean, image_std) and of timm's config.json"
            )
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able mapping that `of` takes back."""
        return asdict(self)

    def check_channels(self, channels: int) -> None:
        """Refuse channels that do not fit, or are too many for the matrix by which they are mixed.

        Raises
        ------
        InputError
            `mean` or `std` has neither 1 nor `channels` entries, or there are more than 4096, and they are
            not left as they are.
        """
        channels = checks.count(channels, "channels")
        for name in ("mean", "std"):
            given = len(getattr(self, name))
            if given not in (1, channels):
                raise InputError(
                    f"preprocess {name} has {given} channels, but the network takes {channels}; "
                    "give one number per channel"
                )
        if channels > _MOST_MIXED and not self.is_identity:
            raise InputError(
                f"preprocess takes at most {_MOST_MIXED} channels, not {channels}; bring the image to what "
                'the network takes yourself, and say preprocess="none"'
            )

    def matrix_and_bias(self, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """The map as x = A u + b over `channels` channels; A has shape (C, C), b (C,).

        Raises
        ------
        InputError
            As `check_channels`.
        """
        self.check_channels(channels)
        check_fits(
            8 * channels**2,
            f"pre-processing of {channels} channels",
            "bring the image to what the network takes yourself",
        )
        mean, std = (np.broadcast_to(np.array(v, np.float64), channels) for v in (self.mean, self.std))
        matrix = np.diag(self.scale / std)
        if self.order == "bgr":
            matrix = matrix[:, ::-1]
        return matrix, -mean / std

    def range(self, channels: int) -> tuple[float, float]:
        """The least and the largest number that an image in [0, 1] becomes."""
        self.check_channels(channels)
        mean, std = (np.array(v, np.float64) for v in (self.mean, self.std))
        black, white = -mean / std, (self.scale - mean) / std
        low, high = min(black.min(), white.min()), max(black.max(), white.max())
        return low + 0.0, high + 0.0  # no negative zero

    @property
    def is_identity(self) -> bool:
        """Whether x = u."""
        return self.scale == 1 and not any(self.mean) and set(self.std) == {1.0} and self.order == "rgb"


PreprocessSource = Preprocess | str | os.PathLike[str] | dict[str, Any]
"""What may be given as pre-processing: `sobolevflow.load` says how."""


def said(what: PreprocessSource | None) -> Preprocess | dict[str, Any]:
    """What a user says of pre-processing, names and files looked up; empty where nothing is said."""
    return read_preprocess(what)[0]


def read_preprocess(what: PreprocessSource | None) -> tuple[Preprocess | dict[str, Any], list[str]]:
    """As `said`, with what a file says that cannot be expressed.

    Raises
    ------
    InputError
        The file cannot be read, or is none of pre-processing; there is no convention of that name.
    """
    if isinstance(what, Preprocess):
        return what, []
    if what is None:
        return {}, []
    if isinstance(what, Mapping):
        return _fields(what, "preprocess")
    if not isinstance(what, (str, os.PathLike)):
        wanted = "a convention, a file, a mapping of fields such as {'scale': 255}, or a Preprocess"
        checks.refuse(what, "preprocess", wanted)
    if isinstance(what, os.PathLike):
        return _of_path(checks.path(what, "preprocess"))
    if what.lstrip().startswith("{"):
        return _fields(_parsed(what), "preprocess")
    if what in CONVENTIONS or not _is_file(what):
        return Preprocess.named(what), []
    return _of_path(Path(what))


def _is_file(text: str) -> bool:
    """Whether a word means a file rather than a convention."""
    return text.endswith((".json", ".yaml", ".yml", ".toml")) or os.path.exists(text)


def _of_path(path: Path) -> tuple[dict[str, Any], list[str]]:
    if os.path.isdir(path):  # which a text too long for a name of a file is not
        return _of_folder(path)
    file = TextFile.read(path, "preprocess file")
    data = file.data()
    if not isinstance(data, dict):
        raise InputFileError(f"{file.name}: holds no mapping of fields, such as {{'scale': 255}}")
    found, notes = _fields(data, file.name)
    return found, [*file.notes, *notes]


def _of_folder(folder: Path) -> tuple[dict[str, Any], list[str]]:
    path = preprocess_beside(folder)
    if path is None:
        raise InputError(
            f"preprocess folder {folder}: has none of {', '.join(USUAL_FILES)} with pre-processing; any "
            "other file is given by its path"
        )
    found, notes = _of_path(path)
    return found, [f"the pre-processing is that of {path}", *notes]


def preprocess_beside(folder: Path) -> Path | None:
    """The configuration with pre-processing that lies in a folder, if there is one."""
    for path in find_beside(folder, USUAL_FILES):
        try:
            data = TextFile.read(path, "preprocess file").data()
        except InputError:
            continue
        if isinstance(data, dict) and is_configuration(data):
            return path
    return None


def _fields(data: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[str]]:
    """The fields of `Preprocess` from a mapping: these themselves, or another library's."""
    if is_configuration(data):
        return of_configuration(data, name)
    return dict(data), []


def _parsed(text: str) -> dict[str, Any]:
    try:
        data = parsed_json(text)
    except ValueError as error:
        raise InputError(f"preprocess: not JSON ({error})") from None
    if not isinstance(data, dict):
        raise InputError("preprocess: must hold a JSON object")
    return data


def _floats(name: str, value: Any) -> tuple[float, ...]:
    wanted = "a number or a list, of finite numbers"
    if library(value) is not None:
        array = to_host(borrow_numbers(value, f"preprocess {name}"))
        value = array.tolist() if array.ndim < 2 else checks.refuse(value, f"preprocess {name}", wanted)
    one = checks.is_number(value) or not isinstance(value, Sequence)
    values = [value] if one else checks.entries(value, f"preprocess {name}", wanted)
    if not values or not all(map(checks.is_number, values)):
        checks.refuse(value, f"preprocess {name}", wanted)
    return tuple(map(float, values))


CONVENTIONS = {
    "torch": Preprocess(1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": Preprocess(255.0, (103.939, 116.779, 123.68), (1.0,), order="bgr"),
    "tf": Preprocess(2.0, (1.0,)),
    "none": Preprocess(),
}
