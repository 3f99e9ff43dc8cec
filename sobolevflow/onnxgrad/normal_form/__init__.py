"""Any model brought to the one form that the gradient rules are written for.

================== =========================================================================
`normalize`        the whole way, step by step
`as_loaded`        a model as onnxruntime takes its file: inputs, opset, order, functions
`in_order`         nodes behind those that they need
`local_functions`  functions that a file defines itself, replaced by their bodies
`opset`            the conversion to opset 18; opsets and operators that are taken
`legacy`           operators and conventions of old files that the converter does not know
`dilated_average`  AveragePool with dilations, as a convolution
`ceil_mode`        pools whose size onnx and onnxruntime disagree about
`guarded`          shape inference that no Slice of a size below zero ends
`static_types`     the shape and type of every tensor
`fold`             what does not depend on the input, computed now
`fused`            operators that onnxruntime's optimiser writes, replaced by their parts
`loops`            how often loops run, before any of them does
`texts`            how long texts become that are joined
`bodies`           constants in the bodies of control flow
`branches`         an If whose condition is known, replaced by its branch
`quantized`        operators on quantised numbers, replaced by those on real ones
`for_backward`     equal forms whose backward pass is cheaper
================== =========================================================================
"""
