"""Show what a convolutional network has learned, from its ONNX file alone.

The names that `__init__.pyi` lists are loaded on first use, so that ``import sobolevflow`` stays cheap:
numba, onnx and onnxruntime are imported by the first call that needs them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
