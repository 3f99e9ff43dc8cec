"""Compiled inner loops, one module for each mathematical object.

What belongs here: a loop over pixels that NumPy cannot express without passing over memory several
times, written for Numba, on arrays that somebody else has checked and laid out. What does not: checks
of arguments, choice of parameters and allocation of results. Those live in the module that calls the
kernel and that has a NumPy reference for it, against which the kernel is tested.

`convolution`             small symmetric kernels
`fourier`                 cosine and Fourier transforms of columns
`tridiagonal`             elimination along lines
`planes`                  exact filters of whole planes, by the two before
`total_variation`         the primal-dual iteration, many iterations in a sweep
`generalised_variation`   that for total generalised variation
`bilateral`               the bilateral filter
`diffusion`               the steps of Perona and Malik
`decay`                   exp(-x) in few operations
`pixels`                  what a filter does at one pixel, on the host and on a CUDA device
`threads`                 which thread does what
`announcing`              who is told of it
`compiling`               how all of them are compiled
`cuda`                    their namesakes for NVIDIA GPUs

Importing this package imports none of them. They import numba, so their callers import them inside the
function that runs them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
