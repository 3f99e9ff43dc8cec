"""How long texts become that are joined, which no shape tells."""

from __future__ import annotations

import onnx

from ..graph import node_label
from ..limits import Limits, in_words, refused

_USUAL = 64  # bytes of a text that is not in the file


def check_texts(graph: onnx.GraphProto, limits: Limits) -> None:
    """LimitError where a text is joined with itself again and again until it is huge."""
    longest = {t.name: int(t.ByteSize()) for t in graph.initializer if t.data_type == onnx.TensorProto.STRING}
    for node in graph.node:
        sizes = [longest.get(x, _USUAL) for x in node.input]
        size = sum(sizes) if node.op_type == "StringConcat" else max(sizes, default=0)
        if node.op_type == "StringConcat" and size > limits.folded_bytes:
            what = f"the StringConcat {node_label(node)} makes texts of {in_words(size)}"
            raise refused(f"{what}, and {in_words(limits.folded_bytes)} are allowed", "folded_bytes", size)
        if any(x in longest for x in node.input) or node.op_type == "StringConcat":
            longest.update(dict.fromkeys(node.output, size))
