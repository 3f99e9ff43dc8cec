"""Is everything there that a device needs, and does it compute the right thing? `sobolevflow doctor`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from ..arrays import to_host
from ..devices import CPU, CUDA, FOR_CUDA, GENERAL, TENSORRT, Device, Finding, findings
from ..errors import SobolevflowError
from ..network import load
from ..objectives import Class
from .engine import Engine, largest_error

_NETWORK = "builtin:shapes-vgg"

# Of the largest component of the gradient: rounding, and that of TF32 or half precision.
_EXACT, _ROUNDED = 1e-3, 0.3


def examine(device: str | Device = CUDA) -> Iterator[Finding]:
    """Look at the installation, then try the device.

    Parameters
    ----------
    device : str or Device
        What is to be used.

    Yields
    ------
    Finding
        As soon as it is known. The last is that of the trial: the gradient of a bundled network there,
        compared with that of the CPU.
    """
    device = Device.of(device)
    yield from findings(GENERAL)
    if device.name in (CUDA, TENSORRT):
        yield from findings(FOR_CUDA)
    yield trial(device)


def trial(device: Device) -> Finding:
    """Compute a gradient on the device, and compare it with that of the CPU."""
    subject = f"trial on {device}"
    net = load(_NETWORK)
    u = np.random.default_rng(0).random((1, *net.input_shape), np.float32)
    try:
        expected = Engine(net, Class(0), device=CPU)(u)[1].copy()
        engine = Engine(net, Class(0), device=device)
        found = to_host(engine(u)[1])
        start = time.perf_counter()
        to_host(engine(u)[1])
        seconds = time.perf_counter() - start
    except SobolevflowError as error:
        return Finding(subject, "trouble", error.full)
    difference = largest_error(found, expected)
    rounded = device.tf32 or device.precision != "float32"
    if not difference < (_ROUNDED if rounded else _EXACT):
        return Finding(
            subject,
            "trouble",
            f"The gradient of a bundled network is off by {difference:.1e} of its largest value on the CPU.",
            "Please report this, with the lines above.",
        )
    return Finding(
        subject,
        "ok",
        f"The gradient of a bundled network, {1e3 * seconds:.1f} ms, is the CPU's to {difference:.0e}.",
    )
