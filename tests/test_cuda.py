"""Kernels for CUDA without a device: under Numba's simulator, and compiled to machine language."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba.cuda
import numba.cuda.dispatcher
import pytest
from numba import types

from sobolevflow.kernels import convolution_cuda, pixels, recursive_cuda


def test_kernels_under_the_simulator() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "simulated_cuda.py"],
        cwd=Path(__file__).parent,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def ptx(kernel: Any, arguments: tuple[Any, ...], cc: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> str:
    """The kernel in PTX for devices of compute capability `cc`."""
    # Device functions are compiled for the current device, whatever `cuda.compile` is told.
    device = SimpleNamespace(compute_capability=cc)
    monkeypatch.setattr(numba.cuda.dispatcher, "get_current_device", lambda: device)
    text, _ = numba.cuda.compile(
        kernel.py_func, types.void(*arguments), cc=cc, device=False, abi="numba", output="ptx"
    )
    return str(text)


def planes(dtype: Any) -> Any:
    return types.Array(dtype, 3, "C")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """Device functions remember the device that they were compiled for."""
    for cached in ("_line_filter", "_row_finder", "_storing", "terms_kernel", "dense_kernel"):
        getattr(convolution_cuda, cached).cache_clear()
    for function in (convolution_cuda._source, convolution_cuda._sign):
        function.overloads.clear()
    for function in (recursive_cuda._eliminate, recursive_cuda._substitute):
        function.overloads.clear()


@pytest.mark.parametrize("cc", [(8, 0), (9, 0)])
@pytest.mark.parametrize("boundary", [pixels.REFLECT, pixels.PERIODIC, pixels.ZERO])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_finite_kernels_compile_and_add_up_in_registers(
    dtype: str, boundary: int, cc: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    array = types.Array(getattr(types, dtype), 1, "C")
    taps = types.Array(types.float64 if dtype == "float64" else types.float32, 2, "C")
    tile = convolution_cuda.tile_for_terms(5)
    common = (array, array, types.int32, types.int32)
    kernel = convolution_cuda.terms_kernel(5, boundary, dtype, tile)
    text = ptx(kernel, (*common, taps, taps), cc, monkeypatch)
    assert f".target sm_{cc[0]}{cc[1]}" in text
    assert ".local" not in text  # unrolled: each pixel of a thread has a register
    width = "f64" if dtype == "float64" else "f32"
    # a fused product and sum for each of five pairs of pixels, in both passes, at every pixel of a thread
    assert len(re.findall(rf"fma\.rn\.{width}", text)) >= 2 * 5 * tile.pixels
    tile = convolution_cuda.tile_for_dense(5)
    text = ptx(convolution_cuda.dense_kernel(5, boundary, dtype, tile), (*common, taps), cc, monkeypatch)
    assert ".local" not in text
    assert len(re.findall(rf"fma\.rn\.{width}", text)) >= 5 * tile.pixels


@pytest.mark.parametrize("cc", [(8, 0), (9, 0)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_recursive_kernels_compile(dtype: str, cc: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    number = getattr(types, dtype)
    line = types.Array(number, 1, "C")
    arguments = (planes(number), planes(number), line, line, line, line)
    for kernel in (recursive_cuda.columns_kernel, recursive_cuda.rows_kernels[dtype]):
        assert f".target sm_{cc[0]}{cc[1]}" in ptx(kernel, arguments, cc, monkeypatch)


def test_tiles_fit_into_shared_memory() -> None:
    for radius in range(1, convolution_cuda.LARGEST_RADIUS + 1):
        assert convolution_cuda._dense_bytes(radius, convolution_cuda.tile_for_dense(radius)) <= 48 << 10
        tile = convolution_cuda.tile_for_terms(radius)
        assert tile.across > 2 * radius
        assert 8 * tile.height * tile.across + 8 * (tile.height + 2 * radius) <= 48 << 10
