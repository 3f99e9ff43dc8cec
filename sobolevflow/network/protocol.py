"""What the parts of a network ask of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnx

from ..arrays import Array
from ..devices import Sessions
from ..errors import UnsupportedOpError
from ..onnxgrad import Graph, Limits, Weights
from .classes import Classes
from .constant_inputs import Missing
from .image_input import ImageInput
from .layers import Carried
from .places import Places
from .preprocess import Preprocess


class NetworkLike(Protocol):
    """A `Network`, as its parts see it; what these stand for is said there."""

    name: str
    model: onnx.ModelProto
    weights: Weights
    feeds: dict[str, np.ndarray]
    image_input: ImageInput
    preprocess: Preprocess
    threads: int | None
    sessions: Sessions
    limits: Limits
    latent: bool
    preprocess_known: bool

    @property
    def input_name(self) -> str:
        """The name of its image input."""
        ...

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        ...

    def check_image(self, image: Any, *, bounded: bool = True) -> Array:
        """An array of any library as images that fit."""
        ...

    def classes_of(self, output: str | None = None) -> Classes:
        """The classes whose scores an output holds."""
        ...

    @property
    def missing(self) -> Missing:
        """Its inputs without a value."""
        ...

    @property
    def places(self) -> Places:
        """Where its layers keep their images."""
        ...

    @property
    def carried(self) -> Carried:
        """What carries a gradient to the image."""
        ...

    def graph(
        self, layers: Sequence[str], batch: int, *, taken: int | None = None
    ) -> tuple[Graph, Mapping[str, str]]:
        """The graph from `batch` images to layers, of which the network is given `taken`."""
        ...

    def run_batch(self, batch: int, layers: Sequence[str]) -> int:
        """How many of `batch` images may go to layers at once."""
        ...

    def unsupported(self, what: str) -> UnsupportedOpError:
        """The error that says what has no gradient."""
        ...

    def of_whole_numbers(self, name: str) -> UnsupportedOpError:
        """The error that says that a layer holds numbers without a gradient."""
        ...
