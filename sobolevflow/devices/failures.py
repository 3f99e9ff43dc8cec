"""What the errors of CUDA and of onnxruntime's providers mean, in plain words.

They arrive as exceptions of several libraries with nothing in common but their text, so it is the text that
is looked at. Every entry names the cause and what to do about it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import DeviceError, DeviceMemoryError, how_to_install


@dataclass(frozen=True)
class Failure:
    """A kind of failure: how its messages read, what it is, and what helps."""

    pattern: str
    meaning: str
    remedy: str
    kind: type[DeviceError] = DeviceError


# What brings the libraries of CUDA that onnxruntime needs.
LIBRARIES = 'pip install "onnxruntime-gpu[cuda,cudnn]"'

# The first that matches counts.
FAILURES = (
    Failure(
        r"out of memory|OutOfMemory|cudaErrorMemoryAllocation|CUDA failure 2\b|Failed to allocate memory|"
        r"BFCArena|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED",
        "its memory is used up",
        "Use a smaller batch or canvas, free what else is there (nvidia-smi lists it), or use a device with "
        'precision="float16".',
        DeviceMemoryError,
    ),
    Failure(
        r"InsufficientDriver|driver version is insufficient|CUDA failure 35\b|system has unsupported display "
        r"driver|cudaErrorCompatNotSupported|unsupported toolchain",
        "its driver is older than the CUDA libraries that are installed",
        "Update NVIDIA's driver (580 or later for CUDA 13, 525 or later for CUDA 12), or install the extra "
        f"for the older CUDA: {how_to_install('cuda12')}.",
    ),
    Failure(
        r"NoDevice|no CUDA-capable device|CUDA failure 100\b|InvalidDevice|invalid device ordinal|"
        r"CUDA failure 101\b",
        "there is no such device",
        "'nvidia-smi -L' lists those that there are, and CUDA_VISIBLE_DEVICES may hide some.",
    ),
    Failure(
        r"no kernel image is available|NoKernelImageForDevice|CUDA failure 209\b",
        "the libraries have no code for a GPU this old or this new",
        'Update onnxruntime-gpu and CuPy; GPUs before Turing need the extra "cuda12".',
    ),
    Failure(
        r"DevicesUnavailable|device\(s\) is/are busy|CUDA failure 46\b",
        "it is in use by another process that keeps it to itself",
        "Wait for that process, or choose another device.",
    ),
    Failure(
        r"illegal memory access|IllegalAddress|CUDA failure 700\b|unspecified launch failure|LaunchFailure|"
        r"CUDA failure 719\b|ECC|launch timed out|LaunchTimeout|CUDA failure 702\b|device is lost|"
        r"fallen off the bus|unknown error|CUDA failure 999\b|CUDA failure 214\b|HardwareStackError",
        "it was lost during the run, and nothing of this process can use it any more",
        "Start again from the last picture that was saved. 'nvidia-smi' and the kernel's log (NVRM: Xid) say "
        "whether it is the hardware, its temperature or its driver.",
    ),
    Failure(
        r"Unknown provider option|Failed to parse provider option",
        "its provider does not know one of the options, or not its value",
        "The documentation of onnxruntime's provider lists them.",
    ),
    Failure(
        r"cudnn.*(not found|cannot be loaded|NOT_INITIALIZED|unavailable)|CUDNN_STATUS_NOT_INITIALIZED|"
        r"requires? cuDNN|libcudnn",
        "cuDNN is missing or does not fit the driver",
        f"Install the runtime with its libraries: {LIBRARIES}.",
    ),
)


def recognised(error: BaseException, device: str) -> DeviceError | None:
    """The error to raise for one of CUDA's or onnxruntime's, raised on `device`; None for an unknown one."""
    text = _text(error)
    for failure in FAILURES:
        if re.search(failure.pattern, text, re.IGNORECASE):
            return failure.kind(f"device {device!r}: {failure.meaning}. {failure.remedy} ({text})")
    return None


def explained(error: BaseException, device: str) -> DeviceError:
    """As `recognised`, and for an unknown one an error that quotes it."""
    unknown = f"device {device!r} failed: {_text(error)}. 'sobolevflow doctor' checks the installation."
    return recognised(error, device) or DeviceError(unknown)


def is_of_device(error: BaseException) -> bool:
    """Whether an error comes from a library that talks to a device, or reads as if it did."""
    library = type(error).__module__.partition(".")[0]
    return library.startswith("cupy") or recognised(error, "") is not None


def _text(error: BaseException) -> str:
    text = re.sub(r"/\S+\.(cc|h|cu):\d+ ", "", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text}"[:400]
