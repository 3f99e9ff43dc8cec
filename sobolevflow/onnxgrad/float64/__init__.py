"""Graphs evaluated in double precision by NumPy, for checks and for folding.

onnxruntime has no float64 convolutions on the CPU, and lacks kernels for many other operators. Here
onnx's `ReferenceEvaluator` runs each node, with operators replaced that walk through arrays in Python
loops, or that are not exact: onnx's own Erf, DynamicQuantizeLinear and MeanVarianceNormalization round
to single precision, its LRN runs over the batch where it should run over the channels, its GlobalMaxPool
knows two spatial axes only, its LpNormalization takes no absolute values, its GatherElements knows
neither negative axes nor indices for a part of the data, and its GridSample knows newer names of modes
only.

================ =============================================================================
`evaluator`      the nodes of a graph, one after the other, tensors dropped after their last use
`held`           the function that a straight-through gradient is the derivative of
`convolutions`   convolutions as products of matrices
`pools`          pools as maxima and sums over taps
`window_axes`    the windows of both
`elementwise`    operators on single entries
`indexing`       gathers and scatters
`normalizations` normalizations over channels and axes
`padding`        Pad
`quantization`   QuantizeLinear and its like
`resampling`     Resize
================ =============================================================================
"""

from .evaluator import Evaluation, evaluate
from .held import Held

__all__ = ["Evaluation", "Held", "evaluate"]
