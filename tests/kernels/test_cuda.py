"""Kernels for CUDA without a device: under Numba's simulator, and compiled to machine language."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.paths import ROOT, SUPPORT

if sys.platform != "linux":
    pytest.skip("the extra test brings NVIDIA's compiler on Linux only", allow_module_level=True)

import numba.cuda
import numba.cuda.dispatcher
from numba import types

from sobolevflow.kernels import pixels
from sobolevflow.kernels.cuda import (
    convolution as convolution_cuda,
    recursive as recursive_cuda,
    total_variation as total_variation_cuda,
    view as view_cuda,
)


@pytest.mark.parametrize("what", ["cuda", "descent"])
def test_devices_under_the_simulator(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", SUPPORT / f"simulated_{what}.py"],
        cwd=ROOT,
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
    for cached in ("_line_filter", "_loading", "_row_finder", "_storing", "compiled"):
        getattr(convolution_cuda, cached).cache_clear()
    for function in (convolution_cuda._source, convolution_cuda._sign):
        function.overloads.clear()
    for name in ("_average", "_fetch", "_bring_back"):
        getattr(recursive_cuda, name).overloads.clear()
    for name in ("_stepped", "_moved", "_scales", "_penalty", "_reduce"):
        getattr(total_variation_cuda, name).overloads.clear()
    for function in (view_cuda._place, view_cuda._mirrored, view_cuda._copy):
        function.overloads.clear()


@pytest.mark.parametrize("cc", [(8, 0), (9, 0)])
@pytest.mark.parametrize("boundary", [pixels.REFLECT, pixels.PERIODIC, pixels.ZERO])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("folded", [False, True])
def test_finite_kernels_compile_and_add_up_in_registers(
    folded: bool, dtype: str, boundary: int, cc: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    array = types.Array(getattr(types, dtype), 1, "C")
    taps = types.Array(types.float64 if dtype == "float64" else types.float32, 2, "C")
    tile = convolution_cuda.FOLDED if folded else convolution_cuda.MIXED
    kernel = convolution_cuda.compiled(5, folded, boundary, dtype, tile)
    text = ptx(kernel, (array, array, types.int32, types.int32, taps, taps), cc, monkeypatch)
    assert f".target sm_{cc[0]}{cc[1]}" in text
    assert ".local" not in text  # unrolled: each pixel of a thread has a register
    # a fused product and sum for each of five pairs of pixels, at every pixel of a thread, in every pass
    fused = re.findall(r"fma\.rn\.f64" if dtype == "float64" else r"fma\.rn\.f32", text)
    assert len(fused) >= (1 if folded else 2) * 5 * tile.pixels


@pytest.mark.parametrize("cc", [(8, 0), (9, 0)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_recursive_kernels_compile(dtype: str, cc: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    number = getattr(types, dtype)
    line = types.Array(number, 1, "C")
    arguments = (planes(number), planes(number), line, line, line, line)
    for kernel in (recursive_cuda.columns_kernel, recursive_cuda.rows_kernels[dtype]):
        assert f".target sm_{cc[0]}{cc[1]}" in ptx(kernel, arguments, cc, monkeypatch)


@pytest.mark.parametrize("cc", [(8, 0), (9, 0)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_of_total_variation_compile_in_the_precision_of_the_image(
    dtype: str, cc: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = getattr(types, dtype)
    images, duals = types.Array(number, 4, "C"), types.Array(number, 5, "C")
    numbers, flags = types.Array(number, 2, "C"), types.Array(types.int32, 1, "C")
    sums, gaps = types.Array(types.float64, 3, "C"), types.Array(types.float64, 1, "C")
    iterates = (images, images, duals)
    table = types.Array(number, 3, "C")
    # kernels are made anew: their device functions are of the device that they were first compiled for
    iterate = total_variation_cuda._iterate_kernel(number)
    text = ptx(
        iterate,
        (*iterates, images, duals, table, flags, types.int32, numbers, flags, types.boolean),
        cc,
        monkeypatch,
    )
    assert f".target sm_{cc[0]}{cc[1]}" in text
    assert ".local" not in text
    assert (".f64" in text) == (dtype == "float64")  # on most cards double precision takes 64 times as long
    gap = total_variation_cuda._gap_kernel(number)
    text = ptx(gap, (*iterates, numbers, flags, sums, types.boolean, types.boolean), cc, monkeypatch)
    assert ".local" not in text
    assert "div.rn.f64" not in text or dtype == "float64"
    finish = (sums, gaps, gaps, flags, flags, flags, numbers, types.int32, types.float64, types.float64)
    text = ptx(total_variation_cuda._finish, (*finish, types.int32, types.int32), cc, monkeypatch)
    assert "bar.sync" in text


@pytest.mark.parametrize("cc", [(8, 0), (9, 0)])
@pytest.mark.parametrize("name", ["shift", "shift_back", "turn", "turn_back"])
def test_kernels_of_views_compile(name: str, cc: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    image, table = types.Array(types.float32, 4, "C"), types.Array(types.float64, 2, "C")
    periods = (types.int64,) if name == "turn_back" else ()
    text = ptx(getattr(view_cuda, name), (image, table, image, *periods), cc, monkeypatch)
    assert f".target sm_{cc[0]}{cc[1]}" in text
    assert ".local" not in text


def test_tiles_fit_into_the_shared_memory_of_any_device() -> None:
    for tile in (convolution_cuda.MIXED, convolution_cuda.FOLDED):
        assert tile.across > 2 * convolution_cuda.LARGEST_RADIUS
        rows = tile.height + 2 * convolution_cuda.LARGEST_RADIUS
        assert 2 * 8 * tile.height * tile.across + 8 * rows <= 48 << 10
