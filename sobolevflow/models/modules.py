"""Modules of PyTorch and Keras in memory as ONNX models, with what they compute for an example beside them.

Nothing of these libraries is imported here unless an object is one of theirs, so that it has been already.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import onnx

from ..errors import InputError, ModelError, RuntimeMissingError, UnknownNameError, did_you_mean
from .onnx_file import OPSET

IMAGE, SCORES = "image", "scores"
EXPORTERS = ("dynamo", "torchscript")
"""The two that torch has: by torch.export, which needs onnxscript, and by tracing."""

_SCOPES = "pkg.torch.onnx.name_scopes"  # where torch.onnx notes the modules that a node stands in
_INNER = "inner"  # what a module is called within the one that chooses among its outputs
_PIXELS = "pixel_values"  # what networks of Hugging Face call their image
_WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
}  # what is only put around a module, and its attribute that holds it
_REASON = 300  # characters of a library's own message that are shown


@dataclass(frozen=True)
class Converted:
    """A module as a model, and what the module itself computes.

    Attributes
    ----------
    model : onnx.ModelProto
        Input ``image``, one output.
    examples : list of (array, array)
        Images (N, ...) that the module was given, and what it returned; for two numbers of images where the
        batch is open.
    notes : list of str
        What is to be known of the way.
    """

    model: onnx.ModelProto
    examples: list[tuple[np.ndarray, np.ndarray]]
    notes: list[str] = field(default_factory=list)


def library_of(thing: Any) -> str | None:
    """The library that a thing is a module of, "torch" or "keras", or None."""
    # modules of Keras on PyTorch are both, and export as those of PyTorch
    classes = {(c.__module__.partition(".")[0], c.__name__) for c in type(thing).__mro__}
    if ("torch", "Module") in classes:
        return "torch"
    return "keras" if classes & {("keras", "Layer"), ("keras", "Operation"), ("tf_keras", "Layer")} else None


def unwrapped(module: Any) -> Any:
    """The module itself, of one that torch.compile or a DataParallel is around."""
    while (kept := _WRAPPERS.get(type(module).__name__)) is not None and hasattr(module, kept):
        module = getattr(module, kept)
    return module


def name_of(module: Any) -> str:
    """What messages call a module."""
    module = unwrapped(module)
    return str(getattr(module, "original_name", None) or type(module).__name__)


def input_size_of(module: Any) -> tuple[int, ...] | None:
    """The size of one image that a network of Keras states, None where it leaves some of it open."""
    shape = getattr(module, "input_shape", None)
    if not isinstance(shape, tuple) or not shape or not all(isinstance(d, int) for d in shape[1:]):
        return None
    return shape[1:]


def convert(
    module: Any,
    image: np.ndarray,
    *,
    output: str | int | None = None,
    opset: int = OPSET,
    dynamic_batch: bool = True,
    exporter: str | None = None,
) -> Converted:
    """A module as a model.

    Parameters
    ----------
    module : torch.nn.Module or keras.Layer
        Exported in evaluation mode, and left in the mode it was in.
    image : array, shape (N, ...)
        What to trace it with.
    output : str or int, optional
        Which of its outputs, by name or place; the first floating one unless given.
    opset : int
    dynamic_batch : bool
        Whether the number of images is left open; one otherwise.
    exporter : {"dynamo", "torchscript"}, optional
        Of PyTorch's two; the first where onnxscript is installed and the module can be followed.

    Raises
    ------
    ModelError
        The library cannot export it, or it does not run on the image; gives the reason.
    InputError
        It lies on a device, or in a precision that onnxruntime has not.
    UnknownNameError
        There is no such output.
    RuntimeMissingError
        onnxscript, tf2onnx or TensorFlow is not installed.
    """
    with _ONE_AT_A_TIME:
        if library_of(module) == "keras":
            return _of_keras(module, image, output, opset, dynamic_batch)
        return _of_torch(unwrapped(module), image, output, opset, dynamic_batch, exporter)


_ONE_AT_A_TIME = Lock()
"""Exporters change the mode of a module, the logging and the warnings of the process, and put them back."""


# --- PyTorch ----------------------------------------------------------------------------------------


def _of_torch(
    module: Any,
    image: np.ndarray,
    output: str | int | None,
    opset: int,
    dynamic_batch: bool,
    exporter: str | None,
) -> Converted:
    torch = library("torch")
    if exporter not in (None, *EXPORTERS):
        raise InputError(f"exporter is {exporter!r}; it must be 'dynamo' or 'torchscript'")
    dtype = _dtype_of(torch, module)
    # copies, and one for every call: a module may work in place, and some memory cannot be written to
    x, *others = (torch.from_numpy(np.array(each, order="C")) for each in _examples(image, dynamic_batch))
    x, *others = (each.to(dtype) if each.is_floating_point() else each for each in (x, *others))
    with evaluating(module), torch.no_grad():
        wrapped, name = _chosen(torch, module, x, output)
        model, notes = _exported(torch, module, wrapped, x, name, opset, dynamic_batch, exporter)
        examples = [(each.numpy(), wrapped(each.clone()).numpy()) for each in (x, *others)]
    return Converted(model, examples, notes)


def _dtype_of(torch: Any, module: Any) -> Any:
    """The precision of a module on the CPU; InputError where it is elsewhere, or in bfloat16."""
    tensors = [*module.parameters(), *module.buffers()]
    devices = sorted({str(tensor.device) for tensor in tensors} - {"cpu"})
    if devices:
        raise InputError(
            f"{name_of(module)} is on {devices[0]}, and is exported on the CPU: pass module.cpu()"
            if devices[0] != "meta"
            else f"{name_of(module)} is on the device 'meta', and has no weights yet: load them first"
        )
    kinds = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    if torch.bfloat16 in kinds:
        raise InputError(f"{name_of(module)} is in bfloat16, which is not exported: pass module.float()")
    return next(iter(sorted(kinds, key=str)), torch.float32)


@contextlib.contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """A module of PyTorch in evaluation mode; every part is put back into the mode it was in."""
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


def _chosen(torch: Any, module: Any, x: Any, output: str | int | None) -> tuple[Any, str]:
    """A module with one output, itself or one around it, and what that output is called."""
    by_name = _PIXELS if _takes(module, _PIXELS) else None

    def call(inner: Any, image: Any) -> Any:
        return inner(**{by_name: image}) if by_name else inner(image)

    try:
        returned = call(module, x.clone())
    except Exception as error:
        raise ModelError(
            f"{name_of(module)} does not run on an example of shape {tuple(x.shape)}: {_reason(error)}"
        ) from error
    path, name = choose(returned, output, torch.is_tensor, lambda t: bool(t.is_floating_point()), module)
    if not path and by_name is None:
        return module, SCORES

    class Chosen(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, image: Any) -> Any:
            return at(call(self.inner, image), path)

    around = Chosen()
    around.training = module.training
    return around, name


def _takes(module: Any, name: str) -> bool:
    """Whether a module's forward has an argument of that name."""
    try:
        return name in inspect.signature(module.forward).parameters
    except (TypeError, ValueError):  # compiled code may have no signature
        return False


def _exported(
    torch: Any,
    module: Any,
    wrapped: Any,
    x: Any,
    name: str,
    opset: int,
    dynamic_batch: bool,
    exporter: str | None,
) -> tuple[onnx.ModelProto, list[str]]:
    """The model by the exporter that is asked for, or else by the first that can."""
    traced = isinstance(module, torch.jit.ScriptModule)
    usual = "dynamo" if importlib.util.find_spec("onnxscript") and not traced else "torchscript"
    tried = EXPORTERS if exporter is None and usual == "dynamo" else (exporter or usual,)
    failed: list[Exception] = []
    for each in tried:
        try:
            model = _written(torch, wrapped, x, each, name, opset, dynamic_batch)
        except RuntimeMissingError:
            raise
        except Exception as error:
            failed.append(error)
        else:
            return with_module_names(model, "" if wrapped is module else _INNER), [
                f"torch.export cannot follow {name_of(module)} ({_reason(error)}), so it was traced: what "
                "depends on values is fixed as for the example"
                for error in failed
            ]
    more = "sf.export(..., dynamic_batch=False) fixes the batch at one image; " if dynamic_batch else ""
    said = "; ".join(f"{each}: {_reason(error)}" for each, error in zip(tried, failed, strict=True))
    raise ModelError(
        f"{name_of(module)} cannot be exported by torch.onnx ({said}). {more}where its code depends on "
        "values, wrap the part that does not in a module of its own"
    ) from failed[0]


def _written(
    torch: Any, network: Any, x: Any, exporter: str, name: str, opset: int, dynamic_batch: bool
) -> onnx.ModelProto:
    """What one of the two exporters writes."""
    options: dict[str, Any] = {}
    if exporter == "dynamo":
        if not importlib.util.find_spec("onnxscript"):
            raise RuntimeMissingError("the exporter 'dynamo' needs onnxscript: pip install onnxscript")
        if dynamic_batch:
            options["dynamic_shapes"] = ({0: torch.export.Dim("N")},)
    else:
        # normalizations stay apart, so that every module's own value is found by its name
        options["training"] = torch.onnx.TrainingMode.PRESERVE
        if dynamic_batch:
            options["dynamic_axes"] = {IMAGE: {0: "N"}, name: {0: "N"}}
    with _quiet(torch), tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        torch.onnx.export(
            network,
            (x.clone(),),
            str(path),
            dynamo=exporter == "dynamo",
            opset_version=opset,
            verbose=False,
            input_names=[IMAGE],
            output_names=[name],
            **options,
        )
        return onnx.load(path)


@contextlib.contextmanager
def _quiet(torch: Any) -> Iterator[None]:
    """Without progress and advice, and without a fused attention that one of the exporters does not know."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _silent():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def with_module_names(model: onnx.ModelProto, around: str = "") -> onnx.ModelProto:
    """Give the last tensor that a module computes the module's name, in place.

    Where a module does nothing but call another, the innermost of the two has the name.

    Parameters
    ----------
    model : onnx.ModelProto
        As either exporter of torch.onnx writes it.
    around : str
        The name of the module that counts, where another was put around it.
    """
    last: dict[str, tuple[onnx.NodeProto, int]] = {}
    for node in model.graph.node:
        for depth, module in enumerate(_scopes(node, around)):
            last[module] = (node, depth)
    renamed = _without(model, around) if around else {}
    taken = {value.name for value in (*model.graph.input, *model.graph.output)}
    taken |= {renamed.get(tensor.name, tensor.name) for tensor in model.graph.initializer}
    for module, (node, _) in sorted(last.items(), key=lambda item: item[1][1]):
        if len(node.output) == 1 and node.output[0] not in taken and module not in taken:
            renamed[node.output[0]] = module  # the innermost comes last
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
        del node.metadata_props[:]  # paths and versions of the machine it was made on
    for value in (*model.graph.value_info, *model.graph.initializer):
        value.name = renamed.get(value.name, value.name)
    return model


def _without(model: onnx.ModelProto, around: str) -> dict[str, str]:
    """Names of weights and tensors as they would be without the module that was put around."""
    weights = [tensor.name for tensor in model.graph.initializer]
    traced = [name for node in model.graph.node for name in node.output]
    return {
        **{name: name.removeprefix(f"{around}.") for name in weights},
        **{name: name.replace(f"/{around}/", "/", 1) for name in traced if name.startswith(f"/{around}/")},
    }


def _scopes(node: onnx.NodeProto, around: str) -> list[str]:
    """The modules that a node stands in, the whole network left out, from outside in."""
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            found = ast.literal_eval(entry.value)[:-1]
            break
    else:
        found = _scopes_in_name(node.name)
    if around:
        found = [name.removeprefix(f"{around}.") for name in found if name != around]
    return [name for name in found if name]


def _scopes_in_name(name: str) -> list[str]:
    """Those that tracing writes into a node's name: "/features/features.0/Conv" is of "features.0"."""
    if not name.startswith("/"):
        return []
    found: list[str] = []
    path: list[str] = []
    for part in name.split("/")[1:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path[-1] = part  # the children of a sequence are called by its name and theirs
        else:
            path.append(part)
        found.append(".".join(path))
    return found


# --- Keras ------------------------------------------------------------------------------------------


def _of_keras(
    module: Any, image: np.ndarray, output: str | int | None, opset: int, dynamic_batch: bool
) -> Converted:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tf, tf2onnx = library("tensorflow"), library("tf2onnx")
    backend = getattr(importlib.import_module(type(module).__module__.partition(".")[0]), "backend", None)
    if backend is not None and backend.backend() != "tensorflow":
        raise InputError(
            f"{name_of(module)} is a network of Keras on {backend.backend()}; it is exported by tf2onnx, on "
            "TensorFlow: set KERAS_BACKEND=tensorflow before Keras is imported"
        )
    x, *others = _examples(image, dynamic_batch)
    try:
        returned = module(tf.constant(x), training=False)
    except Exception as error:
        raise ModelError(
            f"{name_of(module)} does not run on an example of shape {x.shape}: {_reason(error)}"
        ) from error
    path, _ = choose(returned, output, tf.is_tensor, lambda t: bool(t.dtype.is_floating), module)
    shape = (None if dynamic_batch else 1, *x.shape[1:])
    signature = (tf.TensorSpec(shape, x.dtype, name=IMAGE),)
    function = tf.function(lambda u: at(module(u, training=False), path), input_signature=signature)
    try:
        with _silent():
            model = tf2onnx.convert.from_function(function, input_signature=signature, opset=opset)[0]
    except Exception as error:
        raise ModelError(f"{name_of(module)} cannot be exported by tf2onnx: {_reason(error)}") from error
    examples = [
        (each, np.asarray(at(module(tf.constant(each), training=False), path))) for each in (x, *others)
    ]
    return Converted(model, examples)


# --- both -------------------------------------------------------------------------------------------


def _examples(image: np.ndarray, dynamic_batch: bool) -> list[np.ndarray]:
    """Images to trace a module with, several where the batch is open, and others to try it with.

    Of one image no exporter would know whether their number is a constant.
    """
    if not dynamic_batch:
        return [image[:1]]
    return [image if len(image) > 1 else np.concatenate([image, image[..., ::-1, :]]), image[:1]]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without what a library prints, logs and warns of while it exports: what matters of it is an error."""
    before, nowhere = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


Place = tuple[Any, ...]
"""The keys and indices on the way to an output."""


def choose(
    returned: Any,
    output: str | int | None,
    is_tensor: Callable[[Any], bool],
    is_floating: Callable[[Any], bool],
    module: Any,
) -> tuple[Place, str]:
    """Where in what a module returns its output is, and what it is called.

    Raises
    ------
    UnknownNameError
        There is no output of that name or place.
    ModelError
        No output holds floating point numbers.
    """
    found = [(path, value) for path, value in _tensors(returned, ()) if is_tensor(value)]
    names = [".".join(map(str, path)) for path, _ in found]
    floating = [k for k, (_, value) in enumerate(found) if is_floating(value)]
    if not floating:
        raise ModelError(f"{name_of(module)} returns no tensor of floating point numbers")
    if output is None:
        chosen = floating[0]
    elif isinstance(output, str) and output in names:
        chosen = names.index(output)
    elif isinstance(output, int) and not isinstance(output, bool) and -len(found) <= output < len(found):
        chosen = output % len(found)
    else:
        known = ", ".join(f"{name!r}" for name in names if name) or "one, without a name"
        guess = did_you_mean(str(output), names)
        raise UnknownNameError(f"{name_of(module)} has no output {output!r}.{guess} It returns: {known}")
    path = found[chosen][0]
    return path, str(path[-1]) if path and isinstance(path[-1], str) else SCORES


def _tensors(value: Any, path: Place) -> Iterator[tuple[Place, Any]]:
    """What stands in tuples, lists and mappings, with the way to it."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _tensors(each, (*path, key))
    elif hasattr(value, "_fields"):  # a named tuple
        for key in value._fields:
            yield from _tensors(getattr(value, key), (*path, key))
    elif isinstance(value, (tuple, list)):
        for k, each in enumerate(value):
            yield from _tensors(each, (*path, k))
    elif hasattr(value, "__dataclass_fields__"):
        for key in value.__dataclass_fields__:
            yield from _tensors(getattr(value, key), (*path, key))
    else:
        yield path, value


def at(value: Any, path: Place) -> Any:
    """What stands at a place that `choose` found."""
    for key in path:
        value = value[key] if isinstance(value, Mapping) or isinstance(key, int) else getattr(value, key)
    return value


def library(module: str, package: str | None = None) -> Any:
    """A library that exports; RuntimeMissingError says how to install it."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # an installation that is broken raises anything
        package = package or module
        raise RuntimeMissingError(
            f"{package} is needed to export its networks and cannot be imported ({error}): "
            f"pip install {package}"
        ) from None


def _reason(error: BaseException) -> str:
    """The first line of what a library says that is more than a heading."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = error.__cause__
    if cause is not None and str(cause).strip():
        lines = [line.strip() for line in str(cause).splitlines() if line.strip()] or lines
    text = f"{type(error if cause is None else cause).__name__}: {lines[0] if lines else 'no reason given'}"
    return text if len(text) <= _REASON else f"{text[:_REASON]}..."
