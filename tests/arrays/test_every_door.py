"""Every public function that takes an array takes one of any library, and gives its results back as such.

`DOORS` says of each how it is called. What has an array among its parameters and is in neither `DOORS` nor
`EXCEPTIONS` fails the last test.
"""

from __future__ import annotations

import inspect
import re
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings, strategies as st
from onnx import TensorProto, helper, numpy_helper

import sobolevflow as sf
from sobolevflow import (
    filters,
    gradient,
    maps,
    metrics,
    network as network_room,
    pictures,
    proximal,
    schemes,
    total_variation,
    transforms,
)
from sobolevflow.attribution import heatmap
from sobolevflow.gradient import Engine
from tests.support.foreign_arrays import LAYOUTS, Kind, Values, double_precision, kinds
from tests.support.small_networks import OF_DETECTOR, images, small_detector

KINDS = kinds()


@cache
def network() -> sf.Network:
    """The smaller of the bundled networks."""
    return sf.load("builtin:shapes-vgg")


@cache
def layer() -> str:
    """One of its layers with positions."""
    return next(i.name for i in network().layers if i.shape is not None and len(i.shape) == 4)


@cache
def photograph() -> Values:
    """Two images that fit the network, of numbers that half precision holds."""
    shape = (2, *network().input_shape)
    return (np.random.default_rng(0).integers(0, 129, shape) / 128).astype(np.float32)


@cache
def planes() -> Values:
    """Images of no network."""
    return (np.random.default_rng(1).integers(0, 129, (2, 3, 12, 14)) / 128).astype(np.float32)


@cache
def rows() -> Values:
    """Features."""
    return (np.random.default_rng(2).integers(0, 65, (7, 5)) / 64).astype(np.float32)


def weights() -> Values:
    """Half of the image's pixels."""
    mask = np.zeros(network().input_shape[1:], np.float32)
    mask[: len(mask) // 2] = 1
    return mask


def two_inputs() -> onnx.ModelProto:
    """Class scores of an image times another input."""
    nodes = [
        helper.make_node("Mul", ["image", "other"], ["product"]),
        helper.make_node("ReduceMean", ["product"], ["scores"], axes=[2, 3], keepdims=0),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 4])
    other = helper.make_tensor_value_info("other", TensorProto.FLOAT, [1, 3, 4, 4])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph(nodes, "two", [image, other], [scores])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def generator() -> onnx.ModelProto:
    """Pictures of 4 x 4 pixels, of a code and of another input."""
    nodes = [
        helper.make_node("MatMul", ["code", "style"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["drawn"]),
    ]
    inputs = [
        helper.make_tensor_value_info("code", TensorProto.FLOAT, ["N", 2]),
        helper.make_tensor_value_info("style", TensorProto.FLOAT, [2, 48]),
    ]
    drawn = helper.make_tensor_value_info("drawn", TensorProto.FLOAT, ["N", 3, 4, 4])
    shape = numpy_helper.from_array(np.array([-1, 3, 4, 4]), "shape")
    graph = helper.make_graph(nodes, "generator", inputs, [drawn], [shape])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def means() -> onnx.ModelProto:
    """The means of the channels of pictures of 4 x 4 pixels."""
    node = helper.make_node("ReduceMean", ["image"], ["scores"], axes=[2, 3], keepdims=0)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 4, 4])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph([node], "means", [image], [scores])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@cache
def of_means() -> sf.Network:
    """A network that is checked in no time."""
    return sf.load(means())


def style() -> Values:
    """The generator's other input."""
    return rows().ravel()[:24].repeat(4).reshape(2, 48)


@cache
def composed() -> sf.Network:
    """Means of what is drawn."""
    return sf.compose(generator(), means(), inputs={"style": style()})


def written(write: Callable[[Path], Any], read: Callable[[Path], Any], name: str) -> Any:
    """What a file holds that has been written."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return read(Path(folder) / name)


def small(a: Values) -> Values:
    """One image of 4 x 4 pixels."""
    return np.ascontiguousarray(a[:1, :, :4, :4])


def valued(objective: Any) -> Values:
    """Value and gradient at an image of NumPy's."""
    value, gradient = sf.value_and_grad(network(), objective)(photograph()[:1])
    return np.concatenate([value, gradient.ravel()])


def descended(**given: Any) -> Values:
    """Where a descent of a step arrives, and what identifies its arrays in the manifest."""
    objective = given.pop("objective", sf.Class(1))
    return sf.visualize(network(), objective, steps=1, progress=False, jitter=0, **given).u


Make = Callable[[Values], Any]
DOORS: dict[str, Callable[[Make], Any]] = {
    # the network
    "Network.features": lambda a: network().features(a(photograph()), [layer()]),
    "Network.scores": lambda a: network().scores(a(photograph())),
    "Network.top": lambda a: network().top(a(photograph()), 3),
    "gradient.GradientFunction.__call__": lambda a: sf.value_and_grad(network(), sf.Class([1, 2]))(
        a(photograph())
    ),
    "network.pictures": lambda a: network_room.pictures(composed(), a(np.ones((1, 2, 1, 1), np.float32))),
    # attribution
    "attribution.saliency": lambda a: sf.attribution.saliency(network(), sf.Class(1), a(photograph())),
    "attribution.saliency with a filter": lambda a: sf.attribution.saliency(
        network(), sf.Class(1), a(photograph()[0]), filter=filters.Sobolev(size=5), reduce=None
    ),
    "attribution.smooth_grad": lambda a: sf.attribution.smooth_grad(
        network(), sf.Class(1), a(photograph()), samples=2
    ),
    "attribution.integrated_gradients": lambda a: sf.attribution.integrated_gradients(
        network(), sf.Class(1), a(photograph()), steps=2, baseline=a(photograph()[0] * 0.5)
    ),
    "attribution.completeness_error": lambda a: sf.attribution.completeness_error(
        network(), sf.Class(1), a(photograph()), a(photograph()), baseline=a(photograph()[0] * 0.5)
    ),
    "attribution.grad_cam": lambda a: sf.attribution.grad_cam(network(), sf.Class(1), a(photograph())),
    "attribution.heatmap": lambda a: heatmap(a(planes()[:, 0]), a(planes())),
    "attribution.to_original": lambda a: sf.to_original(a(planes()[:, 0]), (20, 30), fill=0),
    # metrics
    "metrics.agreement": lambda a: metrics.agreement(network(), a(photograph()), a(photograph()[::-1])),
    "metrics.frechet": lambda a: metrics.frechet(network(), layer(), a(photograph()), a(1 - photograph())),
    "metrics.frechet_distance": lambda a: metrics.frechet_distance(a(rows()), a(rows()[:4])),
    "metrics.high_frequency_share": lambda a: metrics.high_frequency_share(a(planes())),
    "metrics.in_top": lambda a: metrics.in_top(network(), a(photograph()), a(np.array([1, 2])), 2),
    "metrics.neighbour_distance": lambda a: metrics.neighbour_distance(a(rows()), a(rows()[:4])),
    "metrics.plausibility": lambda a: metrics.plausibility(
        network(), layer(), a(photograph()), a(1 - photograph())
    ),
    "metrics.pooled_features": lambda a: metrics.pooled_features(network(), layer(), a(photograph())),
    "metrics.power_spectrum": lambda a: metrics.power_spectrum(a(planes())),
    "metrics.probability": lambda a: metrics.probability(network(), a(photograph()), [1, 2]),
    "metrics.proportion_interval": lambda a: metrics.proportion_interval(a(np.array([True, False, True]))),
    "metrics.psnr": lambda a: metrics.psnr(a(planes()), a(planes()[0] * 0.5)),
    "metrics.relative_feature_error": lambda a: metrics.relative_feature_error(
        network(), layer(), a(photograph()), a(1 - photograph())
    ),
    "metrics.robustness": lambda a: metrics.robustness(of_means(), sf.Class(1), a(small(planes())), draws=2),
    "metrics.spectrum_slope": lambda a: metrics.spectrum_slope(a(photograph())),
    "metrics.ssim": lambda a: metrics.ssim(a(planes()), a(1 - planes())),
    # filters and maps
    "filters.Filter.__call__": lambda a: filters.Sobolev(size=5)(a(planes())),
    "filters of parts": lambda a: (0.5 * filters.Gaussian(sigma=1.0) + 0.5 * filters.Identity())(a(planes())),
    "filters.inverse": lambda a: filters.inverse(filters.Sobolev(gamma=0.5), a(planes())),
    "filters.reference": lambda a: filters.reference(filters.Gaussian(size=5), a(planes())),
    "filters, channels last": lambda a: filters.Gaussian(size=5)(a(planes()), channel_axis=1),
    "Bilateral.__call__": lambda a: sf.Bilateral()(a(planes()), channel_axis=1),
    "PeronaMalik.__call__": lambda a: sf.PeronaMalik()(a(planes()), channel_axis=1),
    "Multiscale.__call__": lambda a: sf.Multiscale()(a(planes()), channel_axis=1),
    "NaturalColour.__call__": lambda a: sf.NaturalColour()(a(planes())),
    "NaturalColour": lambda a: sf.NaturalColour(a(np.eye(3) + 0.5)).covariance,
    # proximal maps
    "proximal.Composition.__call__": lambda a: (proximal.Box() @ filters.Gaussian(size=5))(
        a(planes()), channel_axis=1
    ),
    "proximal.Composition.solve": lambda a: proximal.Composition(
        (proximal.TotalVariation(0.1), filters.Gaussian(size=5))
    ).solve(a(planes()), None, channel_axis=2)[0],
    "proximal.Box.__call__": lambda a: proximal.Box(0.25, 0.75)(a(planes())),
    "proximal.TotalVariation.__call__": lambda a: proximal.TotalVariation(0.1)(a(planes()), channel_axis=1),
    "proximal.TotalVariation.solve": lambda a: proximal.TotalVariation(0.1).solve(
        a(planes()), None, channel_axis=1
    )[0],
    "proximal.GeneralisedVariation.__call__": lambda a: proximal.GeneralisedVariation(0.1, max_iterations=20)(
        a(planes()), channel_axis=1
    ),
    "proximal.GeneralisedVariation.solve": lambda a: proximal.GeneralisedVariation(
        0.1, max_iterations=20
    ).solve(a(planes()), None, channel_axis=1)[0],
    "proximal.Sum.__call__": lambda a: proximal.Sum((proximal.TotalVariation(0.1), proximal.Box(0.2, 0.8)))(
        a(planes()), channel_axis=1
    ),
    "proximal.Sum.solve": lambda a: proximal.Sum(
        (proximal.TotalVariation(0.1), proximal.Box(0.2, 0.8))
    ).solve(a(planes()), None, channel_axis=1)[0],
    "proximal.TotalVariation.energy": lambda a: proximal.TotalVariation(0.1).energy(a(planes())),
    "proximal.Box.energy": lambda a: proximal.Box().energy(a(planes())),
    "proximal.Sum.energy": lambda a: proximal.Sum((proximal.TotalVariation(0.1),)).energy(a(planes())),
    "proximal.apply": lambda a: proximal.apply(proximal.Box(0.25, 0.75), a(planes()))[0],
    "proximal.energy": lambda a: proximal.energy(filters.Sobolev(gamma=2.0), a(planes())),
    # total variation
    "total_variation.prox": lambda a: (
        total_variation.prox(a(planes()), a(np.array([0.25, 0.5])), channel_axis=1).u
    ),
    "total_variation.prox_tgv": lambda a: (
        total_variation.prox_tgv(a(planes()), 0.1, max_iterations=20, channel_axis=1).u
    ),
    "total_variation.constrained": lambda a: (
        total_variation.constrained(a(planes()), 0.5, channel_axis=1, max_iterations=20).u
    ),
    "total_variation.value": lambda a: total_variation.value(a(planes()), 1),
    "total_variation.gradient": lambda a: total_variation.gradient(a(planes()), 0.25, 1),
    "total_variation.duality_gap": lambda a: total_variation.duality_gap(
        a(planes()[0]), a(planes()[1]), a(planes() * 0.125), 0.25
    ),
    "total_variation.differences.gradient": lambda a: total_variation.differences.gradient(a(planes())),
    "total_variation.differences.divergence": lambda a: total_variation.differences.divergence(a(planes())),
    "total_variation.differences.strain": lambda a: total_variation.differences.strain(a(planes())),
    "total_variation.differences.strain_adjoint": lambda a: total_variation.differences.strain_adjoint(
        a(np.stack([planes()[0]] * 3))
    ),
    # schemes
    "schemes.Dirichlet.energy": lambda a: schemes.Dirichlet(0.5).energy(a(planes())),
    "schemes.Dirichlet.gradient": lambda a: schemes.Dirichlet(0.5).gradient(a(planes())),
    "schemes.SmoothedTV.energy": lambda a: schemes.SmoothedTV(0.5).energy(a(planes())),
    "schemes.SmoothedTV.gradient": lambda a: schemes.SmoothedTV(0.5, 0.25).gradient(a(planes())),
    # transforms
    "transforms.Roll.apply": lambda a: transforms.Roll(((1, 2), (3, 4))).apply(a(planes())),
    "transforms.Roll.adjoint": lambda a: transforms.Roll(((1, 2), (3, 4))).adjoint(a(planes())),
    "transforms.Window.apply": lambda a: transforms.Window((12, 14), (5, 5), ((1, 2), (3, 4))).apply(
        a(planes())
    ),
    "transforms.Window.adjoint": lambda a: transforms.Window((20, 20), (12, 14), ((1, 2), (3, 4))).adjoint(
        a(planes())
    ),
    "transforms.Chain.apply": lambda a: transforms.Chain((transforms.Roll(((1, 2), (3, 4))),)).apply(
        a(planes())
    ),
    "transforms.Chain.adjoint": lambda a: transforms.Chain((transforms.Roll(((1, 2), (3, 4))),)).adjoint(
        a(planes())
    ),
    "transforms.Resize.apply": lambda a: transforms.Resize((12, 14), (6, 7)).apply(a(planes())),
    "transforms.Resize.adjoint": lambda a: transforms.Resize((24, 28), (12, 14)).adjoint(a(planes())),
    "transforms.Turn.apply": lambda a: transforms.Turn((12, 14), (5.0, 9.0), (1.0, 1.1)).apply(a(planes())),
    "transforms.Turn.adjoint": lambda a: transforms.Turn((12, 14), (5.0, 9.0), (1.0, 1.1)).adjoint(
        a(planes())
    ),
    # pictures
    "pictures.to_uint8": lambda a: pictures.to_uint8(a(planes())),
    "pictures.to_levels": lambda a: pictures.to_levels(a(planes()), 16)[1],
}

ANSWERED_BY_NUMPY: dict[str, Callable[[Make], Any]] = {
    "Network.predict": lambda a: np.array(network().predict(a(photograph())).probabilities),
    "check_gradient": lambda a: np.float64(
        sf.check_gradient(of_means(), sf.Class(1), a(small(planes())), directions=0)
    ),
    "Inversion": lambda a: valued(sf.Inversion(layer(), a(photograph()[0]), mask=a(weights()))),
    "Inversion.to_dict": lambda a: [
        sf.Inversion(layer(), a(planes().astype(np.float32))).to_dict()["image"]["shape"]
    ],
    "Caricature": lambda a: valued(sf.Caricature(layer(), a(photograph()[0]))),
    "Cosine": lambda a: valued(sf.Cosine(layer(), a(photograph()[0]))),
    "Region": lambda a: valued(sf.Region(layer(), 1, mask=a(weights()))),
    "Detection.at": lambda a: sf.value_and_grad(
        small_detector(), sf.Detection(1, (4, 8, 12, 20)).at(a(images(1, size=OF_DETECTOR)[0]))
    )(images(2, size=OF_DETECTOR)),
    "Detection": lambda a: sf.value_and_grad(
        small_detector(),
        sf.Detection(1, a(np.array([4.0, 8.0, 12.0, 20.0])), a(images(1, size=OF_DETECTOR)[0])),
    )(images(2, size=OF_DETECTOR)),
    "Direction": lambda a: valued(
        sf.Direction(layer(), a(np.arange(network().layer_shape(layer())[1], dtype=np.float32) - 3))
    ),
    "Class": lambda a: np.array(sf.Class(a(np.array([1, 2]))).which),
    "Channel": lambda a: np.array(sf.Channel(layer(), a(np.array([1, 2]))).channel),
    "Neuron": lambda a: np.array(sf.Neuron(layer(), 0, a(np.array([1, 2])), a(np.array([3, 4]))).y),
    "visualize": lambda a: descended(start=a(photograph()[0]), mask=a(weights())),
    "invert": lambda a: (
        sf.invert(
            network(),
            sf.Inversion(layer(), a(photograph()[1])),
            steps=1,
            progress=False,
            start=a(photograph()[0]),
        ).u
    ),
    "Preprocess": lambda a: np.array(sf.Preprocess(mean=a(np.array([0.5, 0.25, 0.125]))).mean),
    "load": lambda a: sf.load(two_inputs(), inputs={"other": a(small(planes()))}).scores(small(planes())),
    "Network": lambda a: sf.Network(two_inputs(), inputs={"other": a(small(planes()))}).scores(
        small(planes())
    ),
    "Image": lambda a: sf.load(two_inputs(), inputs={"other": sf.Image(a(small(planes())))}).scores(
        small(planes())
    ),
    "Network.check_image": lambda a: network().check_image(a(photograph())),
    "Network.first_non_finite": lambda a: np.array([network().first_non_finite(a(photograph())) is None]),
    "gradient.Engine.__call__": lambda a: Engine(network(), sf.Class([1, 2]), batch=2)(a(photograph()))[0],
    "objectives.target_features": lambda a: sf.objectives.target_features(
        network(), layer(), a(photograph()), 2
    ),
    "pictures.contact_sheet": lambda a: pictures.contact_sheet([[a(pictures.to_uint8(planes()[0].T))]]),
    "pictures.write_image": lambda a: written(
        lambda path: pictures.write_image(path, a(planes()[0])), sf.read_image, "a.png"
    ),
    "pictures.write_array": lambda a: written(
        lambda path: pictures.write_array(path, a(planes())), np.load, "a.npy"
    ),
    "compose": lambda a: sf.compose(generator(), means(), inputs={"style": a(style())}).scores(
        np.ones((1, 2, 1, 1), np.float32)
    ),
}

EXCEPTIONS = {
    # what a descent is made of works on the arrays of the descent, of NumPy and of CuPy
    r"schemes\.Scheme\.step": "of a descent",
    r"schemes\.Penalty\.\w+": "a protocol",
    r"optimizers\.\w+\.__call__": "of a descent",
    r"optimizers\.AdamState": "a result",
    r"(Fourier|Phase)\.\w+": "of a descent",
    r"transforms\.(DeviceView|LinearMap)(\.\w+)?": "of a descent, and a protocol",
    r"transforms\.interpolation": "takes a function of distances",
    r"(proximal|maps)\.(ProximalMap|Map|ChannelMap|PictureMap)(\.\w+)?": "a protocol, and bases",
    r"(maps\.)?(PeronaMalik|Bilateral)\.reference": "called with the stack that the map has taken in",
    r"gradient\.(Evaluates|ValueAndGradient)(\.\w+)?": "a protocol",
    r"gradient\.Engine\.blame": "called with what the engine was given",
    # holders of results, which are made by the package
    r"Result": "made by a descent; on the host, since it is saved",
    r"metrics\.(Robustness|Spectrum)": "a result",
    r"total_variation\.(Constrained|Prox|State)": "a result",
    r"pictures\.(arranged|encode|resized|tiled|viewable|write_arranged|write_planes|Planes)": "of bytes",
    # graphs of ONNX, whose runtime takes arrays of NumPy
    r"onnxgrad\..*": "of graphs, knows nothing of the rest of the package",
    r"kernels\..*": "compiled loops, called with checked memory",
    r"objectives\.(Combination|Leaf|Emitter|Objective)\..*": "of graphs",
    r"models\.(Converted|convert)": "called with what export has taken in",
    r"network\.Positions\.unfolded": "of features, on the host",
    r"pictures\.colour_map": "takes the colours of a map",
    r"pictures\.fitted": "called with a picture that was read",
    r"models\.draw": "takes a generator of random numbers",
    r"filters\.(Filter|\w+)\.(kernel|response|plan)": "takes sizes",
}

_ARRAY = re.compile(r"\b(Array|AnyArray|ArrayLike|ndarray|NDArray|Pixels|Levels|Floats)\b")
_NAMES = {
    "u",
    "x",
    "y",
    "g",
    "image",
    "images",
    "values",
    "reference",
    "references",
    "features",
    "attribution",
}
_NAMES |= {"hits", "vector", "mask", "picture", "baseline", "inputs", "codes", "start", "covariance"}


def arrays_in(found: Any) -> Iterator[Any]:
    """The arrays in a result, in order."""
    if isinstance(found, (list, tuple)):
        for each in found:
            yield from arrays_in(each)
    elif isinstance(found, dict):
        yield from arrays_in(list(found.values()))
    elif is_dataclass(found) and not isinstance(found, type):
        yield from arrays_in([getattr(found, f.name) for f in fields(found)])
    elif hasattr(found, "shape"):
        yield found


def compare(call: Callable[[Make], Any], kind: Kind, look: Callable[[Values], Values], own: bool) -> None:
    """What a call gives for arrays of a kind is what it gives for those of NumPy, as arrays of that kind."""
    with double_precision(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = call(lambda a: kind.rounded(look(a)))
        found = call(lambda a: kind.make(look(a)))
    wanted, given_back = list(arrays_in(expected)), list(arrays_in(found))
    assert len(wanted) == len(given_back)
    if not wanted:
        assert found == expected
    for one, other in zip(given_back, wanted, strict=True):
        assert isinstance(one, kind.type() if own else (np.ndarray, np.generic))
        assert tuple(one.shape) == other.shape
        values = kind.read(one) if own else one
        # a result of half precision is rounded to that
        narrow = "16" in str(one.dtype)
        rtol, atol = (2**-7, 2**-9) if narrow else (2e-5, 1e-6)
        np.testing.assert_allclose(
            np.asarray(values, np.float64), np.asarray(other, np.float64), rtol=rtol, atol=atol
        )
        if not narrow and kind.dtype not in ("float16", "bfloat16"):
            assert np.asarray(values).dtype.newbyteorder("=") == other.dtype.newbyteorder("=")


@pytest.mark.parametrize("door", DOORS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(kind=st.sampled_from(KINDS), look=st.sampled_from(list(LAYOUTS)))
def test_what_goes_in_comes_back(door: str, kind: Kind, look: str) -> None:
    compare(DOORS[door], kind, LAYOUTS[look], own=True)


@pytest.mark.parametrize("door", ANSWERED_BY_NUMPY)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(kind=st.sampled_from(KINDS), look=st.sampled_from(list(LAYOUTS)))
def test_what_is_only_taken_in_is_taken_from_all(door: str, kind: Kind, look: str) -> None:
    compare(ANSWERED_BY_NUMPY[door], kind, LAYOUTS[look], own=False)


def public(module: Any, prefix: str = "", seen: frozenset[str] = frozenset()) -> Iterator[tuple[str, Any]]:
    """Every public callable of the package by the name that users write."""
    own = [n for n, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    names = getattr(module, "__all__", None) or [n for n in own if not n.startswith("_")]
    for name in sorted(names):
        value = getattr(module, name)
        if isinstance(value, types.ModuleType):
            if value.__name__.startswith("sobolevflow.") and value.__name__ not in seen:
                yield from public(value, f"{prefix}{name}.", seen | {value.__name__})
        elif getattr(value, "__module__", "").startswith("sobolevflow") and callable(value):
            yield prefix + name, value
            if inspect.isclass(value):
                for each, method in vars(value).items():
                    if inspect.isfunction(method) and (each == "__call__" or not each.startswith("_")):
                        yield f"{prefix}{name}.{each}", method


def takes_an_array(function: Any) -> bool:
    """Whether one of the parameters is, by its annotation or its name, an array."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(
        _ARRAY.search(str(p.annotation)) or (p.name in _NAMES and "Any" in str(p.annotation))
        for p in parameters
    )


def test_no_door_is_left_out() -> None:
    tried = {name.partition(" ")[0] for name in (*DOORS, *ANSWERED_BY_NUMPY)}
    # a function that is public under several names is tried under one of them
    tried_functions = set()
    found = dict(public(sf))
    for room in (gradient, maps, network_room, pictures):
        found |= dict(public(room, room.__name__.rpartition(".")[2] + "."))
    for name in tried & found.keys():
        tried_functions.add(inspect.unwrap(found[name]))
    left = [
        name
        for name, function in found.items()
        if takes_an_array(function)
        and name not in tried
        and inspect.unwrap(function) not in tried_functions
        and not any(re.fullmatch(pattern, name) for pattern in EXCEPTIONS)
    ]
    assert left == []
    unused = [p for p in EXCEPTIONS if not any(re.fullmatch(p, n) for n in found)]
    assert unused == []
