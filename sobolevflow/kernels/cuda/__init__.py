"""Compiled loops for NVIDIA GPUs, one module for each mathematical object, as their namesakes for the host.

`convolution`       small symmetric kernels
`recursive`         elimination along lines
`fourier`           trigonometric transforms, by cuFFT
`total_variation`   the primal-dual iteration
`view`              what the network is shown
`launching`         with which blocks and on which streams they run; imports neither numba nor CuPy
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
