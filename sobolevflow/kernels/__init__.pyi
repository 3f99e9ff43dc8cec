"""What the room offers to others: its modules, each loaded on first use."""

from . import (
    bilateral as bilateral,
    compiling as compiling,
    convolution as convolution,
    cuda as cuda,
    decay as decay,
    diffusion as diffusion,
    fourier as fourier,
    generalised_variation as generalised_variation,
    pixels as pixels,
    planes as planes,
    threads as threads,
    total_variation as total_variation,
    tridiagonal as tridiagonal,
)
from .announcing import told_of_compiling as told_of_compiling
