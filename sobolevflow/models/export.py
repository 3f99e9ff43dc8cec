"""Networks of torchvision, timm and Keras as ONNX files that need no further explanation.

    python -m sobolevflow.models.export torchvision:vgg19 -o vgg19.onnx
    python -m sobolevflow.models.export timm:densenet121 --random -o densenet121.onnx
    python -m sobolevflow.models.export keras:ResNet50 -o resnet50.onnx

The file's metadata holds the class names and the pre-processing, so that ``sobolevflow.load("vgg19.onnx")``
is told nothing more; the batch size is left open; and tensors of PyTorch's networks bear the names of the
modules that compute them, so that a layer is asked for as ``features.28``. Needs the library that the network
is of, which sobolevflow itself does not.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from sobolevflow import checks
from sobolevflow.capacity import check_fits
from sobolevflow.errors import InputError, SobolevflowError, UnknownNameError, did_you_mean

from .modules import convert, library, library_of
from .onnx_file import described


def from_torchvision(
    name: str, *, pretrained: bool = True, size: int | None = None, seed: int = 0
) -> onnx.ModelProto:
    """A classifier of torchvision.

    Parameters
    ----------
    name : str
        As ``torchvision.models.list_models()`` lists them.
    pretrained : bool
        With the default weights, which torchvision downloads; otherwise random ones, drawn with `seed`.
    size : int, optional
        Height and width of the input in pixels; what the weights were trained for unless given.
    seed : int

    Returns
    -------
    onnx.ModelProto
        Input ``image`` (N, 3, size, size), output ``scores`` before any softmax.

    Raises
    ------
    RuntimeMissingError
        torch or torchvision is not installed.
    UnknownNameError
        There is no such network.
    """
    pretrained, size, seed = _checked(name, pretrained, size, seed)
    torch, models = library("torch"), library("torchvision.models", "torchvision")
    _check_known(name, models.list_models(module=models), "torchvision")
    weights = models.get_model_weights(name).DEFAULT
    torch.manual_seed(seed)
    network = models.get_model(name, weights=weights if pretrained else None)
    view = weights.transforms()
    preprocess = {"mean": list(view.mean), "std": list(view.std)}
    model = from_torch(network, size or view.crop_size[0])
    return described(model, weights.meta["categories"], preprocess, f"torchvision {name}")


def from_timm(
    name: str, *, pretrained: bool = True, size: int | None = None, seed: int = 0
) -> onnx.ModelProto:
    """A classifier of timm, by the names of ``timm.list_models()``; parameters as of `from_torchvision`."""
    pretrained, size, seed = _checked(name, pretrained, size, seed)
    torch, timm = library("torch"), library("timm")
    _check_known(name.partition(".")[0], timm.list_models(), "timm")
    torch.manual_seed(seed)
    network = timm.create_model(name, pretrained=pretrained)
    facts = timm.data.resolve_model_data_config(network)
    preprocess = {"mean": list(facts["mean"]), "std": list(facts["std"])}
    info = timm.data.ImageNetInfo()
    classes = int(network.num_classes)
    named = classes == info.num_classes()
    labels = [info.index_to_description(k) for k in range(classes)] if named else None
    model = from_torch(network, size or facts["input_size"][-1])
    return described(model, labels, preprocess, f"timm {name}")


def from_keras(
    name: str, *, pretrained: bool = True, size: int | None = None, seed: int = 0
) -> onnx.ModelProto:
    """A classifier of keras.applications on TensorFlow, by way of tf2onnx.

    Parameters
    ----------
    name : str
        Such as ``ResNet50`` or ``DenseNet121``.
    pretrained, size, seed
        As of `from_torchvision`.

    Returns
    -------
    onnx.ModelProto
        Input ``image`` (N, size, size, 3), output ``scores`` before any softmax.
    """
    pretrained, size, seed = _checked(name, pretrained, size, seed)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keras = library("keras")
    networks = {key: make for key, make in vars(keras.applications).items() if callable(make)}
    _check_known(name, networks, "Keras")
    keras.utils.set_random_seed(seed)
    options: dict[str, Any] = {} if size is None else {"input_shape": (size, size, 3)}
    network = networks[name](
        weights="imagenet" if pretrained else None, classifier_activation=None, **options
    )
    model = convert(network, np.zeros((2, *network.input_shape[1:]), np.float32)).model
    preprocess = probed(_preprocessing_of_keras(keras, networks[name]))
    labels = _labels_of_keras(keras) if pretrained else None
    return described(model, labels, preprocess, f"keras {name}")


def from_torch(network: Any, size: int) -> onnx.ModelProto:
    """Any network of PyTorch that maps (N, 3, size, size) to scores, with the names of its modules.

    Parameters
    ----------
    network : torch.nn.Module
    size : int
        Height and width of its input.

    Returns
    -------
    onnx.ModelProto
        Without description; `described` adds one.
    """
    if library_of(network) != "torch":
        checks.refuse(network, "network", "a torch.nn.Module")
    size = _checked_size(size)
    return convert(network, np.zeros((2, 3, size, size), np.float32), exporter="dynamo").model


def probed(function: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    """The fields of `sobolevflow.Preprocess` of an affine function of pixels (1, 1, 1, 3) from 0 to 255.

    Raises
    ------
    InputError
        The function mixes channels, or is not affine.
    """
    if not callable(function):
        checks.refuse(function, "function", "one of pixels (1, 1, 1, 3)")
    offset, *columns = (_of_pixel(function, 255 * colour) for colour in (np.zeros(3), *np.eye(3)))
    matrix = np.stack(columns, axis=1) - offset[:, None]
    bgr = abs(matrix[0, 2]) > abs(matrix[0, 0])
    scales = np.diag(matrix[:, ::-1] if bgr else matrix)
    middle = _of_pixel(function, np.full(3, 127.5))
    affine = np.allclose(middle, matrix @ np.full(3, 0.5) + offset, rtol=1e-4, atol=1e-4)
    if not affine or np.count_nonzero(np.abs(matrix) > 1e-6 * np.abs(scales).max()) != 3:
        raise InputError("The pre-processing is no scale and shift of each channel; give it as a JSON file.")
    std = 1 / scales
    return {
        "mean": [round(float(m), 6) for m in -offset * std],
        "std": [round(float(s), 9) for s in std],
        "order": "bgr" if bgr else "rgb",
    }


def _of_pixel(function: Callable[[np.ndarray], np.ndarray], colour: np.ndarray) -> np.ndarray:
    made = function(colour.reshape(1, 1, 1, 3).astype(np.float32))
    if np.shape(made) != (1, 1, 1, 3) or not np.issubdtype(np.asarray(made).dtype, np.number):
        raise InputError(
            f"The pre-processing makes {checks.shown(made)} of a pixel (1, 1, 1, 3), and no pixel."
        )
    return np.asarray(made, np.float64).reshape(3)


def _checked(name: Any, pretrained: Any, size: Any, seed: Any) -> tuple[bool, int | None, int]:
    """What exporters take, before a library is imported for it."""
    checks.text(name, "a network", "the name of one")
    return (
        checks.flag(pretrained, "pretrained"),
        None if size is None else _checked_size(size),
        checks.count(seed, "seed", least=0, most=2**32 - 1),
    )


def _checked_size(size: Any) -> int:
    side = checks.count(size, "size")
    check_fits(24 * side**2, f"an image of {side}x{side} pixels", "use a smaller one")
    return side


EXPORTERS: dict[str, Callable[..., onnx.ModelProto]] = {
    "torchvision": from_torchvision,
    "timm": from_timm,
    "keras": from_keras,
}


def _check_known(name: str, known: Any, library: str) -> None:
    if name not in known:
        raise UnknownNameError(f"{library} has no network {name!r}.{did_you_mean(name, known)}")


def _preprocessing_of_keras(keras: Any, make: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The preprocess_input of the module that a network's constructor is of."""
    for module in vars(keras.applications).values():
        if getattr(module, make.__name__, None) is make and hasattr(module, "preprocess_input"):
            function: Callable[[np.ndarray], np.ndarray] = module.preprocess_input
            return lambda x: np.asarray(function(x.copy()))
    raise InputError(f"Keras has no pre-processing for {make.__name__}.")


def _labels_of_keras(keras: Any) -> list[str]:
    """The names of ImageNet's classes as Keras downloads them."""
    falling = np.linspace(1, 0, 1000)[None]  # so that the best thousand are all classes in their order
    (decoded,) = keras.applications.imagenet_utils.decode_predictions(falling, top=1000)
    return [name.replace("_", " ") for _, name, _ in decoded]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the exporter's command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sobolevflow.models.export", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("network", metavar="LIBRARY:NAME", help=f"of {', '.join(EXPORTERS)}")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help=".onnx file to write")
    parser.add_argument("--random", action="store_true", help="random weights, so that nothing is downloaded")
    parser.add_argument("--size", type=int, help="height and width of the input (default: as trained)")
    parser.add_argument("--seed", type=int, default=0, help="of random weights (default: 0)")
    options = parser.parse_args(arguments)
    library, _, name = options.network.partition(":")
    if library not in EXPORTERS or not name:
        parser.error(f"{options.network!r} is not LIBRARY:NAME with one of {', '.join(EXPORTERS)}")
    try:
        model = EXPORTERS[library](name, pretrained=not options.random, size=options.size, seed=options.seed)
        onnx.save(model, options.output)
    except (SobolevflowError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
