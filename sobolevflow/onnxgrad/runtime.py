"""The one place where onnxruntime is imported and sessions are made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import onnx

from ..errors import ModelError, RuntimeMissingError
from .graph import Graph
from .weights import Weights

_SEVERITY_FATAL = 4  # what onnxruntime has to say reaches the user through our exceptions


def onnxruntime() -> ModuleType:
    """The onnxruntime module.

    Raises
    ------
    RuntimeMissingError
        It is not installed; the message says which extra installs it.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise RuntimeMissingError(
            'onnxruntime is not installed; install it with: pip install "sobolevflow[cpu]" '
            '(or "sobolevflow[cuda13]", "sobolevflow[cuda12]" for an NVIDIA GPU)'
        ) from error
    return ort  # type: ignore[no-any-return]


def session_options(threads: int | None = None) -> Any:
    """Options for sessions that compute: `threads` inside an operator (None: all cores).

    Subnormal numbers are not flushed to zero, though backward passes fade out in them: onnxruntime
    would switch that on for the calling thread and leave it on, for all other code of the process.
    """
    options = onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads or 0
    return options


def session(
    model: onnx.ModelProto,
    options: Any = None,
    *,
    weights: Weights | None = None,
    providers: Sequence[Any] = ("CPUExecutionProvider",),
) -> Any:
    """An InferenceSession of `model`, its detached `weights` taken from memory without a copy.

    Raises
    ------
    ModelError
        onnxruntime cannot load the model; its reason is given in one line.
    """
    ort = onnxruntime()
    options = options or ort.SessionOptions()
    options.log_severity_level = _SEVERITY_FATAL
    held = {k: ort.OrtValue.ortvalue_from_numpy(_contiguous(v)) for k, v in (weights or {}).items()}
    if held:
        options.add_external_initializers(list(held), list(held.values()))
    with _as_model_error():
        return ort.InferenceSession(model.SerializeToString(), options, providers=list(providers))


def graph_session(graph: Graph, options: Any = None, *, typed_outputs: bool = True) -> Any:
    """An InferenceSession of a graph, as `session`."""
    model, weights = graph.detached(typed_outputs=typed_outputs)
    options = options or onnxruntime().SessionOptions()
    if _largest_matrix(graph) >= _UNPACKED:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return session(model, options, weights=weights)


# Bytes of a matrix from which on it is read where it lies. onnxruntime packs a matrix anew for each node
# that reads it: the 400 MB of VGG's first dense layer would be held three times, and opening takes three
# times as long. Below, packing pays: without it a vision transformer is a fifth slower.
_UNPACKED = 64 << 20


def _largest_matrix(graph: Graph) -> int:
    sizes = (graph.constants[x].nbytes for n in graph.nodes for x in n.inputs if x in graph.constants)
    return max(sizes, default=0)


def _contiguous(value: np.ndarray) -> np.ndarray:
    # a memory map is an ndarray of another class, which onnxruntime does not take
    return np.ascontiguousarray(value).view(np.ndarray)


def run(model: Any, outputs: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Run a session.

    Raises
    ------
    ModelError
        onnxruntime fails at run time, at a size that does not fit for instance.
    """
    with _as_model_error():
        return list(model.run(outputs, dict(feeds)))


def run_bound(model: Any, binding: Any) -> None:
    """Run a session on bound buffers; raises as `run`."""
    with _as_model_error():
        model.run_with_iobinding(binding)


@contextmanager
def _as_model_error() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # onnxruntime's exceptions share no base class below Exception
        raise ModelError(f"onnxruntime cannot run this model: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """onnxruntime's message without its status prefix, file positions and line breaks."""
    text = " ".join(str(error).split())
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"\S+\.(?:cc|h):\d+ \S+\([^)]*\)[^ ]* ", "", text)
    return text[:400]
