"""Reverse-mode differentiation of ONNX models, from ONNX to ONNX.

The result is an ordinary model of opset 18 with operators of domain '' only, unless the user has
registered a rule for others, so every stock onnxruntime runs it. This package knows nothing of
images or objectives and imports nothing else of sobolevflow but the errors.
"""

from __future__ import annotations

from .backward import Refusal, RuleTable, Step, append_backward, describe_stops, stopped_nodes
from .builder import GRADIENT, IMAGE, VALUE, Parameter, add_parameters, differentiate
from .graph import Graph, Node, TensorType
from .normalize import check_operators, drop_initializer_inputs, normalize
from .reading import read_model
from .table import RULES, register

__all__ = [
    "GRADIENT",
    "IMAGE",
    "RULES",
    "VALUE",
    "Graph",
    "Node",
    "Parameter",
    "Refusal",
    "RuleTable",
    "Step",
    "TensorType",
    "add_parameters",
    "append_backward",
    "check_operators",
    "describe_stops",
    "differentiate",
    "drop_initializer_inputs",
    "normalize",
    "read_model",
    "register",
    "stopped_nodes",
]
