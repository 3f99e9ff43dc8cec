"""Every public function called by two and by four threads at once, on what they share.

`test_every_door.DOORS` and `CALLS` say of each function how it is called; a public callable that is in none
of them and in no exception fails the last test. Each thread has another image, scaled by a number of its
own, and what it gets is, byte for byte, what it gets alone.
"""

from __future__ import annotations

import inspect
import re
import tempfile
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow import (
    filters,
    gradient,
    maps,
    metrics,
    network as network_room,
    objectives,
    pictures,
    proximal,
    schemes,
    transforms,
)
from tests.arrays import test_every_door as doors
from tests.full import threads
from tests.support.at_once import at_once, content
from tests.support.small_networks import LABELS, OF_DETECTOR, images as of_size, small_detector, small_model

Make = Callable[[Any], Any]


SIZE = (3, 24, 28)


def opened() -> sf.Network:
    return sf.load(small_model(size=SIZE), preprocess="none", labels=LABELS)


def images(count: int, seed: int = 0) -> np.ndarray:
    return of_size(count, seed, SIZE)


def often() -> list[np.ndarray]:
    """Images for what takes so little time that threads seldom meet there."""
    return [images(1, seed) for seed in range(40)]


@cache
def shared() -> sf.Network:
    """The network that the threads share: a new one for each test, whose first use is theirs."""
    return opened()


@pytest.fixture(autouse=True)
def _new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been asked of the networks yet; the doors have the small one, too."""
    monkeypatch.setattr(doors, "network", shared)
    for known in (shared, doors.layer, doors.photograph, doors.of_means, doors.composed):
        known.cache_clear()
    for known in (shared, doors.photograph, doors.of_means, doors.composed):
        known()


@cache
def functions() -> dict[str, Any]:
    """What threads share beside the network."""
    return {
        "gradient": sf.value_and_grad(shared(), sf.Class(1)),
        "engine": gradient.Engine(shared(), sf.Class(2)),
        "filter": filters.Sobolev(gamma=4.0),
        "prox": proximal.TotalVariation(0.1),
        "state": proximal.TotalVariation(0.1).solve(doors.planes(), None, channel_axis=1)[1],
        "colour": sf.NaturalColour(),
        "view": transforms.RandomView((12, 14), (10, 10), jitter=1, rotate=9.0, zoom=0.1),
        "result": sf.visualize(shared(), sf.Class(1), steps=2, progress=False, snapshots=1),
    }


def written(write: Callable[[Path], Any], name: str) -> bytes:
    """The bytes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


def read_back(a: Make) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        pictures.write_image(Path(folder) / "a.png", a(doors.planes()[0]))
        return sf.read_image(Path(folder) / "a.png"), pictures.read_planes(Path(folder) / "a.png").values


def closed_while_used(a: Make) -> Any:
    shared().close()
    found = shared().scores(a(images(1)))
    with shared() as net:
        return found, net.scores(a(images(1)))


def run_again() -> Any:
    return sf.rerun(functions()["result"].manifest, model=small_model(size=SIZE), progress=False).u


def named(a: Make) -> Any:
    shared().name_classes(LABELS)
    return shared().class_index("king crab"), shared().labels


def rngs() -> list[np.random.Generator]:
    return [np.random.default_rng(k) for k in range(2)]


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(sf.SobolevflowError) as caught:
        call()
    return str(caught.value)


@cache
def made_schemes() -> list[schemes.Scheme]:
    K = filters.Sobolev(size=5)
    return [sf.gradient_descent(), sf.fluid(K), sf.elastic(K), sf.fluid_elastic(K, K), sf.proximal_tv(0.1)]


SEEDED = np.random.default_rng(0).standard_normal((2, 3, 12, 14)).astype(np.float32)

CALLS: dict[str, Callable[[Make], Any]] = {
    # one object for all threads
    "gradient.GradientFunction": lambda a: [functions()["gradient"](a(u)) for u in often()],
    "gradient.GradientFunction of two batches": lambda a: [
        functions()["gradient"](a(images(n))) for n in (1, 2)
    ],
    "gradient.GradientFunction in asyncio": lambda a: awaited(a),
    "gradient.Engine": lambda a: [content(functions()["engine"](a(u))) for u in often()],
    "filters.Filter": lambda a: functions()["filter"](a(doors.planes())),
    "proximal.TotalVariation": lambda a: functions()["prox"].solve(
        a(doors.planes()), functions()["state"], channel_axis=1
    )[0],
    "NaturalColour.matrix": lambda a: (functions()["colour"](a(doors.planes())), sf.NaturalColour().matrix),
    # the network
    "Network.close": closed_while_used,
    "Network.layer": lambda a: shared().layer("conv2"),
    "Network.layers": lambda a: (shared().layers, shared().shapes, repr(shared())),
    "Network.layer_name": lambda a: [shared().layer_name(short) for short in ("#1", "relu1")],
    "Network.layer_names": lambda a: shared().layer_names("*"),
    "Network.check_layer": lambda a: refused(lambda: shared().check_layer("conv9")),
    "Network.layer_shape": lambda a: shared().layer_shape("conv1"),
    "Network.channel_axis": lambda a: shared().channel_axis("conv1"),
    "Network.check_differentiable": lambda a: shared().check_differentiable("conv1"),
    "Network.unsupported": lambda a: str(shared().unsupported("x")),
    "Network.of_whole_numbers": lambda a: str(shared().of_whole_numbers("conv1")),
    "Network.unreached": lambda a: str(shared().unreached("x")),
    "Network.classes_among": lambda a: shared().classes_among(6).index(3),
    "Network.classes_of": lambda a: (shared().classes_of("prob").count, shared().score_layer),
    "Network.name_classes": named,
    "Network.could_be_named": lambda a: shared().could_be_named(LABELS),
    "Network.class_index": lambda a: shared().class_index("king crab"),
    "Network.output_index": lambda a: shared().output_index("king crab"),
    "Network.predict": lambda a: shared().predict(a(images(1)), top=3).to_dict(),
    "Network.class_name": lambda a: shared().class_name(1),
    "Network.graph": lambda a: shared().graph(["conv2"], 2)[0].to_model(),
    "Network.run_batch": lambda a: shared().run_batch(3, ["conv2"]),
    "Network.stay_apart": lambda a: shared().stay_apart(["conv2"]),
    "Network.notes": lambda a: shared().notes(),
    "Network.pre_activation": lambda a: shared().pre_activation("pool1"),
    "Network.squashed": lambda a: shared().squashed("prob"),
    "Network.preactivation_hint": lambda a: shared().preactivation_hint(sf.Channel("relu2", 1)),
    "Network.instead_of": lambda a: shared().instead_of("relu2"),
    "Network.to_dict": lambda a: shared().to_dict(),
    "network.gradient_path": lambda a: network_room.gradient_path(shared(), ["conv2"]).names,
    "network.positions": lambda a: network_room.positions(
        shared(), network_room.gradient_path(shared(), ["conv2"])
    ),
    "network.last_with_positions": lambda a: network_room.last_with_positions(shared(), ["conv2"]),
    "attribution.default_layer": lambda a: sf.attribution.default_layer(shared(), sf.Class(1)),
    # objectives: what they are asked while a graph is made is asked here
    "Channel": lambda a: doors.valued(sf.Channel("conv2", 1)),
    "Neuron": lambda a: doors.valued(sf.Neuron("conv2", 1)),
    "Layer": lambda a: doors.valued(sf.Layer("conv1")),
    "Direction": lambda a: doors.valued(sf.Direction("conv2", a(np.arange(5, dtype=np.float32) + 1))),
    "Cosine": lambda a: doors.valued(sf.Cosine("conv2", a(images(1)[0]))),
    "Region": lambda a: doors.valued(sf.Region("conv2", 1, a(np.array([2.0, 3.0, 9.0, 9.0])))),
    "Detection": lambda a: sf.value_and_grad(
        small_detector(), sf.Detection(1, (4, 8, 12, 20), a(of_size(1, size=OF_DETECTOR)[0]))
    )(a(of_size(2, size=OF_DETECTOR))),
    "Caricature": lambda a: doors.valued(sf.Caricature("conv2", a(images(1)[0]))),
    "Reconstruction": lambda a: doors.valued(sf.Inversion("conv2", a(images(1)[0]))),
    "Diversity": lambda a: sf.value_and_grad(shared(), sf.Class([1, 2]) + 0.1 * sf.Diversity("conv1"))(
        a(images(2))
    ),
    "objectives.Combination": lambda a: doors.valued(sf.Class(1) + 0.5 * sf.Channel("conv1", 2)),
    "objectives.structure": lambda a: objectives.structure(sf.Class(1) + sf.Layer("conv1"), shared()),
    "gradient_model": lambda a: gradient.gradient_model(shared(), sf.Class(1)),
    "visualize": lambda a: (
        sf.visualize(shared(), sf.Class(1), steps=3, progress=False, start=a(images(1)[0])).u
    ),
    "invert": lambda a: (
        sf.invert(shared(), sf.Inversion("conv2", a(images(1)[0])), steps=3, progress=False).u
    ),
    # filters, schemes, views, optimizers
    "filters.Filter.plan": lambda a: [f.plan((12, 14)) for f in FILTERS],
    "filters.Filter.kernel": lambda a: [f.kernel() for f in FILTERS[1:]],
    "filters.Filter.response": lambda a: [f.response(12, 14) for f in FILTERS],
    "filters.Filter.to_dict": lambda a: [filters.from_dict(f.to_dict()) for f in FILTERS],
    "filters.match": lambda a: filters.match(filters.Sobolev(gamma=2.0), "variance"),
    "filters.noise_gain": lambda a: filters.noise_gain(filters.Sobolev(gamma=2.0)),
    "filters.variance": lambda a: filters.variance(filters.Gaussian(sigma=2.0)),
    "filters.frequencies": lambda a: filters.frequencies(12, "reflect"),
    "schemes.Scheme.step": lambda a: [
        made.step(a(doors.planes()), SEEDED, 0.1)[0] for made in made_schemes()
    ],
    "schemes.Scheme.to_dict": lambda a: [(s.to_dict(), s.in_words()) for s in made_schemes()],
    "optimizers.optimizer": lambda a: [
        sf.optimizers.optimizer(name)(a(SEEDED), None)[0] for name in ("descent", "momentum", "adam")
    ],
    "transforms.RandomView": lambda a: functions()["view"].draw(rngs()).apply(a(doors.planes())),
    "Fourier": lambda a: sf.Fourier().image(sf.Fourier().start(a(doors.planes()))),
    "Phase": lambda a: sf.Phase().image(sf.Phase().start(a(doors.planes()))),
    "Preprocess.to_dict": lambda a: shared().preprocess.to_dict(),
    # results and pictures
    "Result.save": lambda a: written(lambda path: functions()["result"].save(path), "a.png"),
    "Result.report": lambda a: functions()["result"].manifest_json(),
    "Result.picture": lambda a: functions()["result"].picture(),
    "Result.levels": lambda a: functions()["result"].levels(16),
    "Result.compare": lambda a: str(functions()["result"].compare(functions()["result"].manifest)),
    "rerun": lambda a: (
        sf.rerun(functions()["result"].manifest, model=small_model(size=SIZE), progress=False).u
    ),
    "read_image": read_back,
    "pictures.resized": lambda a: pictures.contact_sheet([[pictures.to_uint8(a(doors.planes()[0])).T]]),
    "metrics.Robustness.retained": lambda a: metrics.robustness(
        shared(), sf.Class(1), a(images(1)), draws=2
    ).retained(),
    # what opens and writes files, and says things once
    "load": lambda a: opened().scores(a(images(1))),
    "receptive_field": lambda a: np.array(sf.receptive_field(opened(), "relu1").size),
    "models.path": lambda a: sf.load("builtin:shapes-vgg").layer_shape("pooled"),
    "errors.warn_once": lambda a: sf.errors.warn_once("said by several threads"),
}
FILTERS: list[Any] = [
    filters.Sobolev(gamma=3.0),
    filters.Sobolev(size=5),
    filters.Gaussian(sigma=1.5),
    filters.Gaussian(size=5) @ filters.Sobolev(size=5),
    0.5 * filters.Gaussian(size=5) + 0.5 * filters.Identity(),
    filters.SobolevProduct(gamma=2.0),
]


def awaited(a: Make) -> Any:
    """Several calls of one function, by the threads of asyncio."""
    import asyncio

    async def calls() -> list[Any]:
        each = [asyncio.to_thread(functions()["gradient"], a(images(1, seed=k))) for k in range(3)]
        return await asyncio.gather(*each)

    return asyncio.run(calls())


EVERY = {**doors.DOORS, **doors.ANSWERED_BY_NUMPY, **CALLS}


def scaled(k: int) -> Make:
    """Another image for each thread."""

    def make(x: Any) -> Any:
        x = np.asarray(x)
        return np.asarray(x * x.dtype.type(1 - k / 8)) if x.dtype.kind == "f" else x

    return make


def alone(call: Callable[[Make], Any], k: int) -> Any:
    """What a call gives for the images of a thread."""
    return content(call(scaled(k)))


@pytest.mark.parametrize("name", EVERY)
def test_threads_that_call_it_together_get_what_each_gets_alone(name: str) -> None:
    functions.cache_clear()
    functions()
    shared().close()
    call = EVERY[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for count in (2, 4):
            found = at_once([partial(alone, call, k) for k in range(count)])
            assert found == [alone(call, k) for k in range(count)], f"{count} threads"


ASKED = "asked of an objective while its graph is made"
VALUES = "values; what is called are their methods"
EXCEPTIONS = {
    r"kernels\..*": "compiled loops, on memory that the caller hands in",
    r"onnxgrad\..*": "of graphs and sessions that the caller has; rules are registered before",
    r"errors\.(?!warn_once).*": "texts, and classes of errors",
    r"SobolevflowError": "a class of errors",
    r"(objectives\.)?\w+\.(key|emit|parameters|notes|spelled_at|fits)": ASKED,
    r"(objectives\.)?\w+\.(arrays_of_images|describe|indices|tensor|to_dict)": ASKED,
    r"(objectives\.)?\w+\.(nearest_at|for_images|at|weighted|leaves)": "makes another value of a value",
    r"(objectives\.)?\w+\.named_in": "makes another value of a value",
    r"objectives\.(Emitter|Emitter\.\w+|Leaf|Objective|emit_objective)": "of a graph that the caller makes",
    r"objectives\.(chooses|holds_array|maximize|minimize|natural_batch|of_one_layer|spelled|unit)": (
        "of a value"
    ),
    r"objectives\.(read_vector|read_weights|runtime_parameters)": "asked while a graph is made",
    r"(filters|proximal|schemes|optimizers|transforms|maps)\.[A-Z]\w*": VALUES,
    r"(metrics|total_variation|models|pictures|gradient|network)\.[A-Z]\w*|[A-Z]\w*": VALUES,
    r"filters\.\w+\.(kernel|response|to_dict)": "tried as filters.Filter.kernel and so on",
    r"filters\.from_dict": "tried with to_dict",
    r"(schemes\.)?(elastic|fluid|fluid_elastic|gradient_descent|proximal_tv)": "tried with Scheme.step",
    r"schemes\.\w+\.(effective_weight|in_words)": "of a value",
    r"schemes\.Penalty\..*|.*\.ProximalMap\..*|.*\.(Evaluates|ValueAndGradient)\..*": "protocols",
    r"maps\.(ChannelMap|PictureMap|Described|Several)\..*|maps\.(to_dict|told)": "bases, and texts",
    r"(maps\.)?(Bilateral|PeronaMalik|PictureMap)\.(window|reference)": "of a value, and by NumPy alone",
    r"optimizers\.\w+\.(__call__|to_dict)": "tried as optimizers.optimizer",
    r"transforms\.(LinearMap|DeviceView)\..*": "protocols, and of a descent on a GPU",
    r"transforms\.(Crop|Jitter|Warp|RandomView)\.\w+|transforms\.Turn\.first_rows": "tried as RandomView",
    r"transforms\.interpolation": "of numbers",
    r"(Fourier|Phase)\.\w+": "tried as Fourier and Phase",
    r"(network\.)?Preprocess\.\w+|Octave\.to_dict|Device\.\w+": "of a value",
    r"network\.Network\..*": "tried as Network",
    r"network\.(Positions\.unfolded|differentiable_at|untold)": "of a value, of a graph, and a text",
    r"network\.(is_pattern|shortest)": "of names",
    r"(network\.)?export|models\.convert": "one thread at a time, by a lock: tests/network/test_export.py",
    r"models\.(builtin_or_path|described|draw|input_size_of|library_of|name_of)": "of names and modules",
    r"pictures\.(arranged|check_bits|checked_bits|check_writable|colour_map|encode|fitted|tiled)": (
        "of arrays that the caller has, and of names"
    ),
    r"pictures\.(viewable|write_arranged|write_bytes|write_planes|read_planes|read_image)": "by read_image",
    r"total_variation\.check_kind": "of a name",
    r"value_and_grad|gradient\.value_and_grad|gradient\.gradient_model": "tried as GradientFunction",
    r"gradient\.(as_engine|examine|gradient_graph|gradient_model_and_notes|signature)": "by gradient_model",
    r"gradient\.Engine\.blame": "a message",
    r"Result\.manifest_json": "tried with report",
    r"Result\.asked_by|objectives\.(arrays_of|check_asked|from_dict)": "of a value",
    r"(network\.)?Prediction\.\w+": "of a value",
    r"network\.(Source\.to_dict|check_same|found|reopened)": "tried with rerun",
}


def test_no_function_is_left_out() -> None:
    found = dict(doors.public(sf))
    for room in (gradient, maps, network_room, pictures):
        found |= dict(doors.public(room, room.__name__.rpartition(".")[2] + "."))
    tried = {name.partition(" ")[0] for name in EVERY}
    same = {inspect.unwrap(found[name]) for name in tried & found.keys()}
    left = [
        name
        for name, function in found.items()
        if name not in tried
        and inspect.unwrap(function) not in same
        and not any(re.fullmatch(pattern, name) for pattern in EXCEPTIONS)
    ]
    assert left == []
    unused = [p for p in EXCEPTIONS if not any(re.fullmatch(p, n) for n in found)]
    assert unused == []


def test_ten_thousand_calls_are_given_their_own_gradients() -> None:
    """A million of them: python -m tests.full.threads."""
    counts = threads.run(10_000)
    assert sum(each["calls"] for each in counts.values()) >= 9_900
    assert [name for name, each in counts.items() if each["wrong"]] == []
