"""What onnx, onnxruntime and NumPy raise at a model, as one error."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import onnx.version_converter
from google.protobuf.message import Error as MessageError

from ..errors import ModelError, SobolevflowError

# onnx raises its own classes and those of Python, pybind11 makes the latter of what is thrown in C++.
_RAISED = (
    *(onnx.checker.ValidationError, onnx.shape_inference.InferenceError, onnx.defs.SchemaError),
    *(onnx.version_converter.ConvertError, MessageError),
    *(ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError),
    *(TypeError, ValueError),
)
_ONNXRUNTIME = "onnxruntime.capi.onnxruntime_pybind11_state"


@contextmanager
def as_model_error(what: str) -> Iterator[None]:
    """Errors of the libraries, and of arithmetic with what a file says, as a ModelError.

    Parameters
    ----------
    what : str
        What cannot be done, or with which node; the reason follows it.
    """
    try:
        yield
    except SobolevflowError:
        raise
    except (*_RAISED, *_of_onnxruntime()) as error:
        raise ModelError(f"{what}: {one_line(error)}") from error


def _of_onnxruntime() -> tuple[type[Exception], ...]:
    """Its classes, which share no base below Exception; none where it is not imported."""
    module = sys.modules.get(_ONNXRUNTIME)
    kinds = vars(module).values() if module is not None else ()
    return tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))


def one_line(error: Exception) -> str:
    """The message of an error without onnxruntime's status, positions in source files and line breaks."""
    text = re.sub(r"(\S{100})\S+", r"\1...", " ".join(str(error).split()))
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"\S+\.(?:cc|h):\d+ \S+\([^)]*\)[^ ]* ", "", text)
    text = re.sub(r"\S+\.(?:cc|h|cpp):\d+: ", "", text)
    return text[:400] or type(error).__name__
