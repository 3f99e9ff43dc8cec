"""Arrays of any library: whose they are, where they lie, and the image planes in them.

`types`       what an array is to those who read or check the code
`libraries`   what is particular about NumPy, CuPy, PyTorch, JAX, TensorFlow and any other that knows DLPack
`borrowing`   the memory of an array of any of them, and a result lent back to it
`places`      arrays of NumPy and CuPy alike: which library computes there, copies there and back
`planes`      image planes (..., H, W) and the batches (N, C, H, W) that they make up, checked
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
