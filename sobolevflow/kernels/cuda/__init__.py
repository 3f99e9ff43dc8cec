"""Compiled loops for NVIDIA GPUs, one module for each mathematical object, as their namesakes for the host.

`convolution`, `recursive` and `fourier` are of filters, `total_variation` of its prox, `view` of what the
network is shown; `launching` says with which blocks and streams they run.
"""
