"""Reverse-mode differentiation of ONNX models, from ONNX to ONNX.

The result is an ordinary model of opset 18 with operators of domain '' only, unless the user has
registered a rule for others, so every stock onnxruntime runs it. This package knows nothing of
images or objectives and imports nothing else of sobolevflow but the errors.

=============== ============================================================================
`files`         models in files, and their weights apart from them
`graph`         the graph that all of this works on: nodes, constants, static types
`geometry`      sliding windows: where they start, how far they reach
`raised`        what onnx, onnxruntime and NumPy raise, as one error
`runtime`       onnxruntime: sessions and runs
`normal_form`   any model brought to the one form that the rules are written for
`builder`       what appends nodes, and values to reckon with as formulas do
`backward`      the walker, which appends the backward pass to a graph
`reach`         which tensors have a gradient
`rules`         the gradient of every operator
`blocked`       doors into onnxruntime's blocked layout
`differentiate` all of it: from a forward graph and a value to the gradient graph
`half`          what stays in single precision where a network computes in half
`footprint`     how much memory and computing a graph needs
`limits`        how much may be spent on what a file says before its network runs
`shape_inference` ONNX's, kept from following the values of long tensors
`float64`       a graph evaluated in double precision, for checks and for folding
`samples`       where the samples of GridSample lie
`scales`        scales and zero points along an axis
`optimized`     operators that onnxruntime's optimiser writes
`training`      files that were exported in training mode
`operators`     docs/operators.md, from the rules themselves
=============== ============================================================================
"""

from __future__ import annotations

from .backward import Refusal, RuleTable, Step, append_backward, describe_stops, stopped_nodes
from .builder import Builder, Value
from .differentiate import GRADIENT, IMAGE, VALUE, Parameter, add_parameters, differentiate
from .files.reading import read_detached, read_model
from .files.weights import Weights, array_of, detach, size_of
from .files.writing import FILE_LIMIT, write_model
from .float64 import Evaluation, Held, evaluate
from .footprint import check_memory, peak_bytes, session_bytes, weight_bytes
from .graph import (
    Graph,
    Node,
    TensorType,
    attributes_of,
    needed_nodes,
    node_label,
    operator_of,
    opset_of,
    reads,
    subgraphs,
)
from .half import scatter_in_single
from .limits import Limits, in_words, memory_bytes, refused
from .normal_form.as_loaded import as_loaded
from .normal_form.loops import check_loops
from .normal_form.normalize import REWRITTEN, describe_missing, normalize
from .normal_form.opset import check_operators
from .normal_form.quantized import QUANTIZED
from .normal_form.static_types import static_types
from .optimized import without_rule
from .raised import as_model_error
from .reach import with_gradient
from .rules import RULES, register
from .runtime import (
    CPU_PROVIDER,
    graph_session,
    onnxruntime,
    queued,
    run,
    run_bound,
    run_within,
    session,
    session_options,
)

__all__ = [
    "CPU_PROVIDER",
    "FILE_LIMIT",
    "GRADIENT",
    "IMAGE",
    "QUANTIZED",
    "REWRITTEN",
    "RULES",
    "VALUE",
    "Builder",
    "Evaluation",
    "Graph",
    "Held",
    "Limits",
    "Node",
    "Parameter",
    "Refusal",
    "RuleTable",
    "Step",
    "TensorType",
    "Value",
    "Weights",
    "add_parameters",
    "append_backward",
    "array_of",
    "as_loaded",
    "as_model_error",
    "attributes_of",
    "check_loops",
    "check_memory",
    "check_operators",
    "describe_missing",
    "describe_stops",
    "detach",
    "differentiate",
    "evaluate",
    "graph_session",
    "in_words",
    "memory_bytes",
    "needed_nodes",
    "node_label",
    "normalize",
    "onnxruntime",
    "operator_of",
    "opset_of",
    "peak_bytes",
    "queued",
    "read_detached",
    "read_model",
    "reads",
    "refused",
    "register",
    "run",
    "run_bound",
    "run_within",
    "scatter_in_single",
    "session",
    "session_bytes",
    "session_options",
    "size_of",
    "static_types",
    "stopped_nodes",
    "subgraphs",
    "weight_bytes",
    "with_gradient",
    "without_rule",
    "write_model",
]
