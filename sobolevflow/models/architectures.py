"""The two bundled architectures, written down as lists of ONNX nodes.

One list serves twice: `training` interprets it with torch, `onnx_file` writes it out. The names a
user meets in `net.layers` are therefore the names below, and no exporter adds nodes of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

INPUT = "image"
OUTPUT = "logits"


@dataclass(frozen=True)
class Node:
    """One ONNX operator: the tensors it reads, the tensor it writes, its parameters.

    Attributes
    ----------
    op : str
        ONNX operator type.
    inputs : tuple of str
        Names of the tensors it reads.
    output : str
        Name of the tensor it writes; parameters are named after it, ``"<output>.<parameter>"``.
    parameters : dict of str to shape
        Trained arrays (and running statistics) in ONNX input order.
    attributes : dict
        ONNX attributes.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    parameters: dict[str, tuple[int, ...]] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


def _conv(source: str, output: str, channels: tuple[int, int], kernel: int, stride: int = 1) -> Node:
    """Convolution of (in, out) channels with zero padding that keeps the size at stride one."""
    entering, leaving = channels
    return Node(
        "Conv",
        (source,),
        output,
        {"weight": (leaving, entering, kernel, kernel), "bias": (leaving,)},
        {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4},
    )


def _relu(source: str, output: str) -> Node:
    return Node("Relu", (source,), output)


def _pool(op: str, source: str, output: str) -> Node:
    return Node(op, (source,), output, attributes={"kernel_shape": [2, 2], "strides": [2, 2]})


def _norm(source: str, output: str, channels: int) -> Node:
    shape: tuple[int, ...] = (channels,)
    parameters = {"scale": shape, "bias": shape, "mean": shape, "variance": shape}
    return Node("BatchNormalization", (source,), output, parameters, {"epsilon": 1e-5})


def _normalized_relu(source: str, stem: str, channels: int) -> list[Node]:
    """Batch normalization and ReLU, as they come before each convolution of a dense block."""
    return [_norm(source, f"{stem}_norm", channels), _relu(f"{stem}_norm", f"{stem}_relu")]


def _classifier(source: str, channels: int, classes: int) -> list[Node]:
    """Global average pooling and one linear layer, without a softmax."""
    return [
        Node("GlobalAveragePool", (source,), "pooled"),
        Node("Flatten", ("pooled",), "features", attributes={"axis": 1}),
        Node(
            "Gemm",
            ("features",),
            OUTPUT,
            {"weight": (classes, channels), "bias": (classes,)},
            {"transB": 1},
        ),
    ]


def shapes_vgg(classes: int) -> list[Node]:
    """3x3 convolutions with ReLU, in blocks parted by max pooling, after VGG (arXiv:1409.1556).

    The batch normalization serves training only: `onnx_file.fold_batch_normalization` absorbs it.
    """
    blocks = [(16,), (32, 32), (64, 64), (96, 96)]
    nodes: list[Node] = []
    last, width = INPUT, 3
    for b, widths in enumerate(blocks, start=1):
        for i, wider in enumerate(widths, start=1):
            conv = _conv(last, f"block{b}_conv{i}", (width, wider), 3)
            norm = _norm(conv.output, f"block{b}_norm{i}", wider)
            nodes += [conv, norm, _relu(norm.output, f"block{b}_relu{i}")]
            last, width = nodes[-1].output, wider
        if b < len(blocks):
            nodes.append(_pool("MaxPool", last, f"block{b}_pool"))
            last = nodes[-1].output
    return nodes + _classifier(last, width, classes)


def shapes_dense(classes: int) -> list[Node]:
    """Dense blocks, in which a layer reads all layers before it, after DenseNet (arXiv:1608.06993)."""
    blocks = [(3, 8), (4, 16), (4, 24)]
    nodes = [_conv(INPUT, "stem_conv", (3, 20), 7, stride=2)]
    last, width = "stem_conv", 20
    for b, (layers, growth) in enumerate(blocks, start=1):
        for i in range(1, layers + 1):
            nodes += _normalized_relu(last, f"dense{b}_{i}", width)
            nodes.append(_conv(nodes[-1].output, f"dense{b}_conv{i}", (width, growth), 3))
            nodes.append(
                Node("Concat", (last, f"dense{b}_conv{i}"), f"dense{b}_concat{i}", attributes={"axis": 1})
            )
            last, width = nodes[-1].output, width + growth
        if b < len(blocks):
            nodes += _normalized_relu(last, f"transition{b}", width)
            nodes.append(_conv(nodes[-1].output, f"transition{b}_conv", (width, width // 2), 1))
            nodes.append(_pool("AveragePool", f"transition{b}_conv", f"transition{b}_pool"))
            last, width = nodes[-1].output, width // 2
    nodes += _normalized_relu(last, "final", width)
    return nodes + _classifier(nodes[-1].output, width, classes)


ARCHITECTURES: dict[str, Callable[[int], list[Node]]] = {
    "shapes-vgg": shapes_vgg,
    "shapes-dense": shapes_dense,
}
