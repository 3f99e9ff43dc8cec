"""Which layers are maps of positions, and on which axis they keep their channels.

ONNX does not say what an axis means. The layout of the image is known, and is followed through
the network: a convolution makes (N, C, H, W) of anything, a Transpose permutes it, most operators
leave it alone, and a Reshape ends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx

from ..onnxgrad import attributes_of

if TYPE_CHECKING:
    from .network import Network


_CONVOLUTIONS = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv")

# Operators behind which an axis may mean something else. What a convolution makes of it is a map again.
_REARRANGING = ("Reshape", "Flatten", "Gemm", "Einsum", "Expand", "Tile", "GatherND", "ScatterND")


def feature_maps(net: Network) -> dict[str, int]:
    """Layers with channels and positions, (N, C, H, W) or (N, H, W, C), and the axis of their channels.

    Parameters
    ----------
    net : Network

    Returns
    -------
    dict
        From layer names, in the file's order, to 1 or 3. A layer that is 1 pixel high or wide has no
        positions, one that no gradient reaches is left out, and so are the tokens (N, T, D) and the
        attention weights (N, heads, T, T) of a transformer.
    """
    image = "NHWC" if net.channels_last else "NCHW"
    shapes = {info.name: info.shape for info in net.layers if info.differentiable}
    layouts, axes = {net.input_name: image}, {}
    for node in net.model.graph.node:
        name, layout = node.output[0], _layout(node, layouts)
        shape = shapes.get(name)
        if layout is None or shape is None or len(shape) != 4:
            continue
        layouts[name] = layout
        wide = all(shape[layout.index(axis)] > 1 for axis in "HW")
        if wide and layout in ("NCHW", "NHWC"):
            axes[name] = layout.index("C")
    return axes


def _layout(node: onnx.NodeProto, layouts: Mapping[str, str]) -> str | None:
    """The layout of what a node makes, or None where it is not known."""
    if node.op_type in _CONVOLUTIONS:
        return "NCHW"
    given = [layouts[x] for x in node.input if x in layouts]
    if not given or node.op_type in _REARRANGING:
        return None
    if node.op_type == "Transpose":
        return "".join(given[0][axis] for axis in attributes_of(node).get("perm", (3, 2, 1, 0)))
    if node.op_type == "MatMul":  # with a matrix of weights it acts on the last axis alone
        pointwise = node.input[0] in layouts and node.input[1] not in layouts and given[0][-1] == "C"
        return given[0] if pointwise else None
    return given[0]
