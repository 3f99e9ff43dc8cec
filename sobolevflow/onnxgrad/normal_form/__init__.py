"""Any model brought to the one form that the gradient rules are written for.

================== =========================================================================
`normalize`        the whole way, step by step
`opset`            the conversion to opset 18; opsets and operators that are taken
`legacy`           operators and conventions of old files that the converter does not know
`dilated_average`  AveragePool with dilations, as a convolution
`ceil_mode`        pools whose size onnx and onnxruntime disagree about
`static_types`     the shape and type of every tensor
`fold`             what does not depend on the input, computed now
`branches`         an If whose condition is known, replaced by its branch
`quantized`        operators on quantised numbers, replaced by those on real ones
`for_backward`     equal forms whose backward pass is cheaper
================== =========================================================================
"""
