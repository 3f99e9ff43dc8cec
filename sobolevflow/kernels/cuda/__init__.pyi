"""What the room offers to others: its modules, and how they are launched."""

from . import (
    convolution as convolution,
    fourier as fourier,
    recursive as recursive,
    total_variation as total_variation,
    view as view,
)
from .launching import configured as configured, numba_stream as numba_stream, seen_by_numba as seen_by_numba
