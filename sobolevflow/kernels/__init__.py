"""Compiled inner loops, one module for each mathematical object.

What belongs here: a loop over pixels that NumPy cannot express without passing over memory several
times, written for Numba, on arrays that somebody else has checked and laid out. What does not: checks
of arguments, choice of parameters and allocation of results. Those live in the module that calls the
kernel and that has a NumPy reference for it, against which the kernel is tested.

Importing this package imports nothing. Its modules import numba, so their callers import them inside
the function that runs them.
"""
