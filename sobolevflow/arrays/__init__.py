"""Arrays of any library: whose they are, where they lie, and the image planes in them.

`borrowing`   the memory of an array of NumPy, CuPy, PyTorch, JAX or any other, and a result lent back to it
`places`      arrays of NumPy and CuPy alike: which library computes there, copies there and back
`planes`      image planes (..., H, W) and the batches (N, C, H, W) that they make up, checked
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
