"""Open sessions on onnxruntime's CUDA provider and print, as JSON, what became of them (run as a script).

Runs in the environment that has onnxruntime-gpu and little else; the rest is found in the folders given.

    python device_sessions.py [FOLDER ...]
"""

from __future__ import annotations

import json
import sys
from typing import Any

import onnxruntime

sys.path += sys.argv[1:]

import numpy as np

import sobolevflow as sf
from sobolevflow.devices.sessions import open_on
from sobolevflow.gradient.model import gradient_graph
from sobolevflow.objectives.base import runtime_parameters
from sobolevflow.onnxgrad import Graph, Node, TensorType

CUDA = "CUDAExecutionProvider"
STREAM = 4096
LIMIT = "gpu_mem_limit"


def gradient(
    precision: Any = "float32",
    name: str = "builtin:shapes-vgg",
    batch: int = 2,
    objective: sf.objectives.Objective | None = None,
) -> Graph:
    net, objective = sf.load(name), objective or sf.Class(3)
    parameters = runtime_parameters(objective, net, batch)
    return gradient_graph(net, objective, parameters, batch, precision=precision)


def every_objective() -> dict[str, sf.objectives.Objective]:
    net, layer = sf.load("builtin:shapes-vgg"), "block2_conv2"
    shape = net.layer(layer).shape
    assert shape is not None
    rng = np.random.default_rng(0)
    photos = rng.random((2, *net.input_shape), np.float32)
    return {
        "class": sf.Class([1, 2]),
        "channel": sf.Channel(layer, 3),
        "neuron": sf.Neuron(layer, 3, 1, 2),
        "direction": sf.Direction(layer, rng.standard_normal(shape[1]).astype(np.float32)),
        "layer": sf.Layer(layer),
        "inversion": sf.Inversion(layer, photos),
        "inversion, root": sf.Inversion(layer, photos, p=1, mask=np.ones(shape[2:], np.float32)),
        "caricature": sf.Caricature(layer, photos),
        "diversity": sf.Class(1) + 0.1 * sf.Diversity(layer),
        "algebra": 2 * sf.Channel(layer, 3) - sf.Neuron(layer, 1) + 0.1 * sf.Class(4),
    }


def determinant() -> Graph:
    """A graph with an operator that the provider has no kernel for."""
    graph = Graph()
    kind = TensorType((4, 3, 3), np.dtype(np.float32))
    graph.inputs["x"] = kind
    graph.nodes = [Node("Relu", ["x"], ["r"]), Node("Det", ["r"], ["d"]), Node("Relu", ["d"], ["y"])]
    graph.types |= {"r": kind, "d": TensorType((4,), kind.dtype), "y": TensorType((4,), kind.dtype)}
    graph.outputs = ["y"]
    return graph


def opened(graph: Graph, **options: Any) -> dict[str, Any]:
    try:
        session, notes = open_on(graph, sf.Device("cuda", **options), STREAM)
    except sf.SobolevflowError as error:
        return {"error": type(error).__name__, "said": str(error)}
    return {
        "providers": session.get_providers(),
        "options": session.get_provider_options().get(CUDA, {}),
        "notes": notes,
    }


def main() -> None:
    halves = {
        f"float16 {name}": opened(gradient("float16", f"builtin:{name}"), precision="float16")
        for name in ("shapes-vgg", "shapes-dense")
    }
    found = {
        "version": onnxruntime.__version__,
        "plain": opened(gradient()),
        "given": opened(
            gradient(), tf32=True, graphs=False, search="exhaustive", options={LIMIT: "1000000000"}
        ),
        "unknown option": opened(gradient(), options={"no_such_option": "1"}),
        "some on the CPU": opened(determinant()),
        "mixed": opened(determinant(), mixed=True),
        **halves,
        "objectives": {
            f"{precision} {name}": opened(gradient(precision, objective=objective), precision=precision)
            for name, objective in every_objective().items()
            for precision in ("float32", "float16")
        },
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
