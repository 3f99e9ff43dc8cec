"""What the gradient does at every operator, at opset 18: a rule each, by families.

Importing this package fills the table of rules.

================= ==============================================================================
`elementwise`     activations, arithmetic, Clip, Where
`saturating`      activations that saturate, exact in their tails
`compositions`    activations that are written as several operators
`products`        MatMul, Gemm, Einsum
`along_axis`      adjoints of linear maps along one axis
`movement`        Reshape, Transpose, Concat, Slice, Pad and others that move entries
`indexing`        Gather, Scatter, TopK, OneHot and others that pick entries by index
`reductions`      sums, norms and extrema over axes, Softmax, global pools
`normalization`   batch, instance, layer, local response normalization
`windows`         convolutions, pools, Resize
`sampling`        GridSample
`quantization`    QuantizeLinear, DequantizeLinear: the straight-through estimator
`stops`           the operators without a gradient, and why
`table`           the table itself, and `register`, which adds to it
================= ==============================================================================

``rule(s, i)`` returns the gradient of input `i` of the forward node in `s`, given the gradient
``s.g`` of its output. Its docstring, if it has one, says what it does at ties and kinks and what
it refuses: the remark in docs/operators.md.
"""

from . import (
    compositions,
    elementwise,
    indexing,
    movement,
    normalization,
    products,
    quantization,
    reductions,
    sampling,
    saturating,
    stops,
    windows,
)
from .table import RULES, register

__all__ = [
    "RULES",
    "compositions",
    "elementwise",
    "indexing",
    "movement",
    "normalization",
    "products",
    "quantization",
    "reductions",
    "register",
    "sampling",
    "saturating",
    "stops",
    "windows",
]
