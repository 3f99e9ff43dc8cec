"""Every argument of every public operator against values that no caller means: an error of ours, at once."""

from __future__ import annotations

import contextlib
import functools
import re
import resource
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow import filters, maps, metrics, optimizers, proximal, schemes, total_variation, transforms

X = np.random.default_rng(0).random((1, 3, 12, 14), np.float32)
"""An image, (N, C, H, W)."""
FEATURES = np.random.default_rng(2).random((6, 3))

SECONDS = 2.0
GIB = 1 << 30

with contextlib.suppress(ImportError):
    import matplotlib  # noqa: F401  # its import is not to be bounded


def _ring() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


STRANGE: dict[str, Any] = {
    "None": None,
    "True": True,
    "a text": "wrong",
    "an empty text": "",
    "bytes": b"\x00",
    "NaN": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "10^400": 10**400,
    "-10^400": -(10**400),
    "10^9": 10**9,
    "2^62": 2**62,
    "1e308": 1e308,
    "1e-320": 1e-320,
    "-1e-320": -1e-320,
    "-0.0": -0.0,
    "0": 0,
    "-1": -1,
    "2.5": 2.5,
    "complex": 1j,
    "[]": [],
    "()": (),
    "{}": {},
    "a set": {1, 2},
    "ragged": [[1.0, 2.0], [3.0]],
    "a list in itself": _ring(),
    "a pair": (10**6, 10**6),
    "three": (1, 2, 3),
    "object": object(),
    "a class": int,
    "a function": lambda *_, **__: None,
    "a module": np,
    "0-d": np.array(1.5),
    "NumPy's NaN": np.float32("nan"),
    "no elements": np.zeros((0, 3, 4), np.float32),
    "NaNs": np.full((1, 3, 12, 14), np.nan, np.float32),
    "large": np.full((1, 3, 12, 14), 3e38, np.float32),
    "denormal": np.full((1, 3, 12, 14), 1e-42, np.float32),
    "a line": np.arange(5.0),
    "texts": np.array(["a", "b"]),
    "objects": np.array([object(), None], dtype=object),
    "huge integers": np.array([[10**400, 1], [2, 3]], dtype=object),
    "structured": np.zeros((3, 3), [("a", "f4"), ("b", "i2")]),
    "complex array": np.ones((3, 4), complex),
    "times": np.zeros((3, 4), "datetime64[s]"),
    "2^62 elements": np.broadcast_to(np.uint8(1), (2**31, 2**31)),
    "2^60 elements": np.broadcast_to(np.float32(1), (2**30, 2**30)),
    "2^40 elements": np.broadcast_to(np.float32(1), (1, 1, 2**20, 2**20)),
}

Case = tuple[Callable[..., Any], Mapping[str, Any]]


@functools.cache
def _loaded() -> Any:
    return sf.load("builtin:shapes-dense")


@functools.cache
def _images() -> Any:
    net = _loaded()
    return np.random.default_rng(3).random((2, *net.input_shape), np.float32)


SOBOLEV = filters.Sobolev(gamma=2.0)
RNGS = [np.random.default_rng(0)]

CASES: dict[str, Callable[[], Case]] = {}


def case(case: str, function: Callable[..., Any], /, **valid: Any) -> None:
    """A callable, and arguments that it takes."""
    CASES[case] = lambda: (function, valid)


# filters
case("Identity", filters.Identity)
case("Sobolev", filters.Sobolev, size=5, gamma=0.2, order=1.0, boundary="reflect", method="fir")
case("Gaussian", filters.Gaussian, size=5, sigma=0.8, boundary="reflect", method="fir")
case("Gaussian, exact", filters.Gaussian, sigma=0.8, method="exact")
case("Sobolev, exact", filters.Sobolev, gamma=0.8, order=1.5)
case("SobolevProduct", filters.SobolevProduct, gamma=2.0, order=1, boundary="reflect")
case("Composition", filters.Composition, factors=(SOBOLEV, SOBOLEV))
case("Combination", filters.Combination, terms=((1.0, SOBOLEV),))
case("Filter.__call__", SOBOLEV, x=X, out=np.empty_like(X), channel_axis=1)
case("Filter.plan", SOBOLEV.plan, shape=(1, 3, 12, 14), dtype="float32", device="cpu", channel_axis=1)
case("Filter.kernel", SOBOLEV.kernel, normalised=True)
case("Filter.response", SOBOLEV.response, h=12, w=14)
case("Filter.__matmul__", lambda other: SOBOLEV @ other, other=SOBOLEV)
case("Filter.__mul__", lambda weight: SOBOLEV * weight, weight=2.0)
case("Filter.__add__", lambda other: SOBOLEV + other, other=SOBOLEV)
case("Filter.__sub__", lambda other: SOBOLEV - other, other=SOBOLEV)
case("Filter.__pow__", lambda exponent: SOBOLEV**exponent, exponent=2)
case("Filter.__pow__, fir", lambda exponent: filters.Sobolev(5) ** exponent, exponent=2)
case("inverse", filters.inverse, f=SOBOLEV, y=X, channel_axis=1)
case("reference", filters.reference, f=SOBOLEV, x=X, channel_axis=1)
case("match", filters.match, f=filters.Gaussian(5), to="variance", order=1.0)
case("noise_gain", filters.noise_gain, f=SOBOLEV)
case("variance", filters.variance, f=SOBOLEV)
case("filters.from_dict", filters.from_dict, data={"filter": "Sobolev", "size": 5})
case(
    "filters.from_dict, within",
    lambda factors: filters.from_dict({"filter": "Composition", "factors": factors}),
    factors=[{"filter": "Identity"}],
)
case("frequencies", filters.frequencies, n=8, boundary="reflect")

# total variation
TV = {"f": X, "weight": 0.1, "tol": 1e-3, "max_iterations": 5, "channel_axis": 1, "method": "numba"}
case(
    "prox",
    total_variation.prox,
    **TV,
    state=None,
    variation="isotropic",
    huber=0.0,
    algorithm="over-relaxed",
    check_every=5,
    coupled=True,
)
case(
    "prox, reference",
    total_variation.prox,
    **{**TV, "method": "reference"},
    huber=0.01,
    algorithm="accelerated",
)
case("prox_tgv", total_variation.prox_tgv, **TV, ratio=2.0, state=None, check_every=5, coupled=True)
case(
    "constrained",
    total_variation.constrained,
    f=X,
    radius=0.5,
    tol=1e-3,
    max_iterations=5,
    channel_axis=1,
    method="auto",
    variation="isotropic",
    huber=0.0,
    coupled=True,
)
case(
    "total_variation.value",
    total_variation.value,
    u=X,
    channel_axis=1,
    epsilon=0.0,
    variation="isotropic",
    huber=0.0,
    coupled=True,
)
case("total_variation.gradient", total_variation.gradient, u=X, epsilon=1e-2, channel_axis=1, coupled=True)
case(
    "duality_gap",
    total_variation.duality_gap,
    f=X[0],
    u=X[0],
    p=np.zeros((2, *X.shape[1:])),
    weight=0.1,
    huber=0.0,
    isotropic=True,
)
case("differences.gradient", total_variation.differences.gradient, u=X)
case("differences.divergence", total_variation.differences.divergence, p=np.zeros((2, 4, 5)))
case("differences.strain", total_variation.differences.strain, w=np.zeros((2, 4, 5)))
case("differences.strain_adjoint", total_variation.differences.strain_adjoint, q=np.zeros((3, 4, 5)))

# maps
case("Bilateral", maps.Bilateral, sigma=1.0, sigma_range=0.1, size=3, coupled=True)
case("Bilateral.__call__", maps.Bilateral(), x=X, channel_axis=1)
case("Multiscale", maps.Multiscale, levels=2)
case("Multiscale.__call__", maps.Multiscale(), g=X, channel_axis=1)
case("NaturalColour", maps.NaturalColour, covariance=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
case("NaturalColour.__call__", maps.NaturalColour(), g=X, channel_axis=1)
case("PeronaMalik", maps.PeronaMalik, kappa=0.1, time=1.0, conduction="rational", coupled=True)
case("PeronaMalik.__call__", maps.PeronaMalik(), x=X, channel_axis=1)
case("Map.__matmul__", lambda other: maps.NaturalColour() @ other, other=SOBOLEV)
case("maps.Composition", maps.Composition, maps=(maps.NaturalColour(), SOBOLEV))
case("maps.Composition.__call__", maps.NaturalColour() @ SOBOLEV, u=X, channel_axis=1)

# proximal maps
case(
    "TotalVariation",
    proximal.TotalVariation,
    weight=0.1,
    tol=1e-3,
    max_iterations=5,
    coupled=True,
    variation="isotropic",
    huber=0.0,
)
case("TotalVariation.__call__", proximal.TotalVariation(0.1, max_iterations=5), u=X, channel_axis=1)
case(
    "TotalVariation.solve",
    proximal.TotalVariation(0.1, max_iterations=5).solve,
    u=X,
    state=None,
    channel_axis=1,
)
case(
    "GeneralisedVariation",
    proximal.GeneralisedVariation,
    weight=0.1,
    ratio=2.0,
    tol=1e-3,
    max_iterations=5,
    coupled=True,
)
case(
    "GeneralisedVariation.__call__", proximal.GeneralisedVariation(0.1, max_iterations=5), u=X, channel_axis=1
)
case("Box", proximal.Box, low=0.0, high=1.0)
case("Box.__call__", proximal.Box(), u=X, channel_axis=1)
case("Sum", proximal.Sum, maps=(proximal.TotalVariation(0.1), proximal.Box()), tol=1e-3, max_iterations=5)
case(
    "Sum.__call__",
    proximal.Sum((proximal.TotalVariation(0.1, max_iterations=5), SOBOLEV), max_iterations=2),
    u=X,
    channel_axis=1,
)
case("energy", proximal.energy, K=SOBOLEV, u=X, channel_axis=1)

# schemes
case("fluid", schemes.fluid, K_f=SOBOLEV)
case("elastic", schemes.elastic, K_e=SOBOLEV)
case("fluid_elastic", schemes.fluid_elastic, K_f=SOBOLEV, K_e=SOBOLEV)
case("gradient_descent", schemes.gradient_descent, penalty=schemes.Dirichlet(0.1))
case("proximal_tv", schemes.proximal_tv, weight=0.1, fluid=SOBOLEV, tol=1e-3, max_iterations=5, coupled=True)
case("Dirichlet", schemes.Dirichlet, weight=0.1)
case("SmoothedTV", schemes.SmoothedTV, weight=0.1, epsilon=0.01, coupled=True)
case("Dirichlet.energy", schemes.Dirichlet(0.1).energy, u=X)
case("Dirichlet.gradient", schemes.Dirichlet(0.1).gradient, u=X)
case("SmoothedTV.energy", schemes.SmoothedTV(0.1).energy, u=X)
case("SmoothedTV.gradient", schemes.SmoothedTV(0.1).gradient, u=X)
case("Scheme", schemes.Scheme, K_f=SOBOLEV, K_e=SOBOLEV, penalty=None, name="mine")
case("Scheme.effective_weight", schemes.elastic(SOBOLEV).effective_weight, tau=0.1, scale=1.0)
case("Scheme.from_dict", schemes.Scheme.from_dict, data=schemes.fluid(SOBOLEV).to_dict())

# optimizers
case("Descent", optimizers.Descent)
case("Momentum", optimizers.Momentum, decay=0.9)
case("Adam", optimizers.Adam, beta1=0.9, beta2=0.99, epsilon=1e-8)
case("optimizer", optimizers.optimizer, choice="adam")

# transforms
case("Roll", transforms.Roll, shifts=((1, 2),))
case("Roll.apply", transforms.Roll(((1, 2),)).apply, u=X)
case("Window", transforms.Window, canvas=(12, 14), window=(8, 8), corners=((1, 2),))
case("Window.apply", transforms.Window((12, 14), (8, 8), ((1, 2),)).apply, u=X)
case("Window.adjoint", transforms.Window((12, 14), (8, 8), ((1, 2),)).adjoint, g=X[..., :8, :8])
case("Chain", transforms.Chain, maps=(transforms.Roll(((1, 2),)),))
case("Chain.apply", transforms.Chain((transforms.Roll(((1, 2),)),)).apply, u=X)
case("Resize", transforms.Resize, source=(12, 14), target=(6, 7), method="linear")
case("Resize.apply", transforms.Resize((12, 14), (6, 7)).apply, u=X)
case("Resize.adjoint", transforms.Resize((12, 14), (6, 7)).adjoint, g=X[..., :6, :7])
case("Jitter", transforms.Jitter, amount=(1, 2))
case("Jitter.draw", transforms.Jitter((1, 2)).draw, rngs=RNGS)
case("Crop", transforms.Crop, canvas=(12, 14), window=(8, 8), distribution="uniform")
case("Crop.draw", transforms.Crop((12, 14), (8, 8)).draw, rngs=RNGS)
case("Crop.centre", transforms.Crop((12, 14), (8, 8)).centre, batch=2)
case(
    "RandomView",
    transforms.RandomView,
    canvas=(12, 14),
    window=(8, 8),
    jitter=1,
    distribution="uniform",
    rotate=1.0,
    zoom=0.1,
)
case("RandomView.draw", transforms.RandomView((12, 14), (8, 8)).draw, rngs=RNGS)
case("RandomView.still", transforms.RandomView((12, 14), (8, 8)).still, batch=2)
case("Turn", transforms.Turn, size=(12, 14), degrees=(1.0,), factors=(1.1,))
case("Turn.apply", transforms.Turn((12, 14), (1.0,), (1.1,)).apply, u=X)
case("Warp", transforms.Warp, size=(12, 14), rotate=1.0, zoom=0.1)
case("Warp.draw", transforms.Warp((12, 14), 1.0, 0.1).draw, rngs=RNGS)

# pictures
case("heatmap", sf.heatmap, values=X[:, 0], image=X, percentile=99.0, colormap="fire", alpha=0.5)
case("to_original", sf.to_original, values=X[:, 0], size=(20, 30), fill=0.0)
case("read_image", sf.read_image, path="/dev/null", size=(8, 8), channels=3, range=(0, 1), page=0)

# metrics
case("psnr", metrics.psnr, u=X, reference=X, data_range=1.0)
case("ssim", metrics.ssim, u=X, reference=X, data_range=1.0)
case("power_spectrum", metrics.power_spectrum, u=X)
case("spectrum_slope", metrics.spectrum_slope, u=X, low=0.05, high=0.4)
case("high_frequency_share", metrics.high_frequency_share, u=X, cutoff=0.2)
case(
    "neighbour_distance",
    metrics.neighbour_distance,
    features=FEATURES,
    references=FEATURES,
    k=1,
    normalise=False,
)
case("frechet_distance", metrics.frechet_distance, features=FEATURES, references=FEATURES)
case("proportion_interval", metrics.proportion_interval, hits=np.array([True, False]), confidence=0.9)


def judged(name: str, function: Callable[..., Any], /, **others: Any) -> None:
    """A measure that asks a network, of images for it."""
    CASES[name] = lambda: (
        function,
        {
            "net": _loaded(),
            "u": _images(),
            **others,
            **({"reference": _images()} if "reference" in others else {}),
            **({"references": _images()} if "references" in others else {}),
        },
    )


judged("in_top", metrics.in_top, classes=0, k=1)
judged("probability", metrics.probability, classes=0)
judged("agreement", metrics.agreement, reference=None, k=1)
judged(
    "relative_feature_error",
    metrics.relative_feature_error,
    layer="features",
    reference=None,
    relative_to="reference",
)
judged("pooled_features", metrics.pooled_features, layer="features")
judged("plausibility", metrics.plausibility, layer="features", references=None, k=1, normalise=False)
judged("frechet", metrics.frechet, layer="features", references=None)
judged(
    "robustness", metrics.robustness, objective=sf.Class(0), jitter=1, blur=1.0, noise=0.1, draws=1, seed=0
)


NOT_CALLED_BY_USERS = {
    "Filter": "abstract; its methods are in the table",
    "Plan": "is returned",
    "Boundary": "a type",
    "check_kind": "a check",
    "Variation": "a type",
    "Method": "a type",
    "Prox": "is returned",
    "State": "is returned",
    "Constrained": "is returned",
    "differences": "a module; its functions are in the table",
    "Described": "a base class",
    "Map": "a base class",
    "ChannelMap": "a base class",
    "PictureMap": "a base class",
    "ProximalMap": "a protocol",
    "Operator": "a type",
    "Several": "a base class",
    "StepState": "is returned",
    "apply": "a step of the loop, with operators that were checked when they were made",
    "told": "a step of the loop, with operators that were checked when they were made",
    "to_dict": "takes anything",
    "LinearMap": "a protocol",
    "Size": "a type",
    "Distribution": "a type",
    "interpolation": "what Resize is made of",
    "DeviceView": "needs a device",
    "Robustness": "is returned",
    "Spectrum": "is returned",
    "Penalty": "a protocol",
    "EffectiveWeight": "is returned",
    "Optimizer": "a protocol",
    "AdamState": "is returned",
}
"""Public names that are not in the table, and why. Nor are steps of the loop on arrays that it made itself:
`Scheme.step`, and the calls of optimizers."""

ROOMS = (filters, total_variation, maps, proximal, schemes, optimizers, transforms, metrics)


def _public(room: Any) -> set[str]:
    """The names that a room offers, or that a module defines."""
    if hasattr(room, "__path__"):
        return set(room.__all__)
    return {
        name
        for name, value in vars(room).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == room.__name__
    }


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_public_name_is_in_the_table(room: Any) -> None:
    in_table = {name for case in CASES for name in re.split(r"[., ]", case)}
    missing = _public(room) - in_table - set(NOT_CALLED_BY_USERS)
    assert not missing, f"{room.__name__} offers {sorted(missing)}: enter a call of each into CASES"


@contextlib.contextmanager
def bounded(bytes: int) -> Iterator[None]:
    """No more memory than so much beside what the process has."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """A TimeoutError where Python still runs after the time there is."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {SECONDS:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def what_is_wrong(
    function: Callable[..., Any], given: Mapping[str, Any], operator: bool = False, most: int = GIB
) -> str:
    """Why a call is neither a result nor an error of ours, at once; empty where it is."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings(), bounded(most), at_once():
            warnings.simplefilter("error", RuntimeWarning)
            warnings.simplefilter("ignore", UserWarning)
            function(**given)
    except sf.SobolevflowError as error:
        if not str(error).strip():
            return "an error without a word"
    except TypeError as error:
        if operator and re.search("unsupported operand|not support ufuncs|multiply sequence by", str(error)):
            return ""  # what Python says of an operator that neither side has
        return f"TypeError: {error}"[:200]
    except Exception as error:  # every other one is what is looked for
        return f"{type(error).__name__}: {error}"[:200]
    seconds = time.perf_counter() - start
    return f"took {seconds:.1f} s" if seconds > SECONDS else ""


@pytest.mark.parametrize("name", CASES)
def test_strange_arguments_are_refused_at_once(name: str) -> None:
    function, valid = CASES[name]()
    most = 16 * GIB if "net" in valid else GIB  # onnxruntime reserves as it likes, and dies where it cannot
    if name != "read_image":
        function(**valid)  # compiles, and shows that what is valid is
    wrong = {
        f"{argument}={which}": found
        for argument in valid
        for which, value in STRANGE.items()
        if (found := what_is_wrong(function, {**valid, argument: value}, "__" in name, most))
    }
    assert not wrong, "\n".join(f"{call}: {found}" for call, found in wrong.items())
