"""Where a network runs, and how: the name of a device, and what onnxruntime is told of it.

A device is asked for and then used, or there is an error: nothing runs elsewhere in silence. That is what
`sessions` sees to; where arrays lie is in `memory`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from .. import checks
from ..errors import InputError, UnknownNameError, did_you_mean

Search = Literal["heuristic", "exhaustive"]

Precision = Literal["float32", "float16"]

CPU, CUDA, TENSORRT = "cpu", "cuda", "tensorrt"

# Short names of onnxruntime's execution providers; any other is given in full, "VitisAIExecutionProvider".
PROVIDERS = {
    CPU: "CPUExecutionProvider",
    CUDA: "CUDAExecutionProvider",
    TENSORRT: "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}

# How a provider calls the number of a device; the others have none.
_INDEX_OPTION = {CUDA: "device_id", TENSORRT: "device_id", "directml": "device_id", "migraphx": "device_id"}

_MOST = 2**31 - 1  # what a provider takes for a number

_SUFFIX = "ExecutionProvider"


@dataclass(frozen=True)
class Device:
    """A device with its options, wherever ``device=`` takes a name.

    Parameters
    ----------
    name : str
        "cpu"; "cuda", for NVIDIA GPUs, where image, gradient and filters stay in the memory of the GPU; or
        another execution provider of onnxruntime by a short name ("tensorrt", "openvino", "coreml",
        "directml", "webgpu", "migraphx", "qnn", "xnnpack") or in full: that one runs the network, and
        everything else is done on the CPU. "cuda:1" is the second GPU.
    index : int
        The number of the device among those of its kind.
    tf32 : bool
        CUDA: let convolutions and products round their factors to 10 bits, which is faster on Ampere and
        later and wrong by about 1e-3. Off, unlike onnxruntime's own default.
    graphs : bool
        CUDA: replay network and update as CUDA graphs instead of launching their kernels one by one.
    search : {"heuristic", "exhaustive"}
        CUDA: how cuDNN chooses its convolutions: by rules at once, or better.
    precision : {"float32", "float16"}
        Of the network's weights and activations, whatever those in its file are. The image, the objective,
        the gradient and the filters stay float32. Half precision keeps about three digits of a score; its
        gradient is off by some percent, where rectifiers near their kink take the other side: docs/gpu.md.
    mixed : bool
        CUDA: let the CPU run the nodes that the provider has no kernels for, with a copy there and back at
        every step. Off, such a network is refused, and the nodes are named. Other providers always do so,
        and the result has a note of it.
    options : mapping of str to str
        More options of the provider, passed through, such as ``{"gpu_mem_limit": "8000000000"}``.

    Examples
    --------
    >>> visualize(net, Class("tabby"), device=Device("cuda", tf32=True))  # doctest: +SKIP
    """

    name: str = CPU
    index: int = 0
    tf32: bool = False
    graphs: bool = True
    search: Search = "heuristic"
    precision: Precision = "float32"
    mixed: bool = False
    options: Mapping[str, str] | tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        name, index = _parsed(self.name, self.index)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "index", index)
        for which, known in (("search", get_args(Search)), ("precision", get_args(Precision))):
            checks.one_of(getattr(self, which), f"{which} of a device", known)
        for which in ("tf32", "graphs", "mixed"):
            object.__setattr__(self, which, checks.flag(getattr(self, which), f"{which} of a device"))
        object.__setattr__(self, "options", _pairs(self.options))

    @classmethod
    def of(cls, device: Device | str) -> Device:
        """The device of that name; a device is returned as it is.

        Raises
        ------
        UnknownNameError
            There is none of that name.
        """
        if isinstance(device, Device):
            return device
        if not isinstance(device, str):
            raise InputError(f"device is a name such as 'cuda:0', or a Device, not {checks.shown(device)}.")
        return cls(device)

    @property
    def provider(self) -> str:
        """What onnxruntime calls it."""
        return PROVIDERS.get(self.name, self.name)

    @property
    def on_host(self) -> bool:
        """Whether arrays lie in the memory of the host."""
        return self.name != CUDA

    def provider_options(self, stream: int = 0) -> dict[str, str]:
        """What onnxruntime is told of it; on CUDA with the address of the stream to compute on."""
        options = {}
        if self.name in _INDEX_OPTION:
            options[_INDEX_OPTION[self.name]] = str(self.index)
        if self.name == CUDA:
            options |= {
                "use_tf32": str(int(self.tf32)),
                "enable_cuda_graph": str(int(self.graphs and not self.mixed)),
                "cudnn_conv_algo_search": self.search.upper(),
                "cudnn_conv_use_max_workspace": "1",
            }
            if stream:
                options["user_compute_stream"] = str(stream)
        return {**options, **dict(self.options)}

    def providers(self, stream: int = 0) -> list[tuple[str, dict[str, str]]]:
        """What a session is opened with: the provider, and for TensorRT CUDA's for what is left over."""
        providers = [(self.provider, self.provider_options(stream))]
        if self.name == TENSORRT:
            providers.append((PROVIDERS[CUDA], {"device_id": str(self.index)}))
        return providers

    def to_dict(self) -> str | dict[str, Any]:
        """JSON-able, for the manifest: the name where everything else is as it is by default."""
        default = Device(str(self))
        if self == default:
            return str(self)
        changed = {f.name for f in fields(self) if getattr(self, f.name) != getattr(default, f.name)}
        facts = {name: value for name, value in asdict(self).items() if name in changed}
        if "options" in facts:
            facts["options"] = dict(facts["options"])
        return {"name": str(self), **facts}

    def __str__(self) -> str:
        return f"{self.name}:{self.index}" if self.index else self.name


def _pairs(options: Any) -> tuple[tuple[str, str], ...]:
    """The options of a provider, as texts, in the order of their names."""
    wanted = 'a mapping of texts, such as {"gpu_mem_limit": "8000000000"}'
    named = options.items() if isinstance(options, Mapping) else checks.entries(options, "options", wanted)
    pairs = [checks.entries(each, "an option of a device", wanted) for each in named]
    for pair in pairs:
        if len(pair) != 2 or not isinstance(pair[0], str) or not isinstance(pair[1], str | int | float):
            checks.refuse(options, "options", wanted)
    return tuple(sorted((name, str(value)) for name, value in pairs))


def _parsed(name: str, index: int) -> tuple[str, int]:
    """The name and the number of "cuda:1"."""
    index = checks.count(index, "the number of a device", least=0, most=_MOST)
    if not isinstance(name, str):
        checks.refuse(name, "the name of a device", "text such as 'cuda:1'")
    parts = re.fullmatch(r"([A-Za-z0-9_]+?)(?::([0-9]{1,10}))?", name)
    known = parts is not None and (parts[1] in PROVIDERS or parts[1].endswith(_SUFFIX))
    if parts is None or not known:
        raise UnknownNameError(
            f"there is no device {checks.shown(name)}; the names are {', '.join(PROVIDERS)}, with a number "
            f"as in 'cuda:1', and those of onnxruntime's execution providers in full."
            f"{did_you_mean(name, PROVIDERS)}"
        )
    short = next((s for s, full in PROVIDERS.items() if full == parts[1]), parts[1])
    number = index if parts[2] is None else int(parts[2])
    return short, checks.count(number, "the number of a device", least=0, most=_MOST)


def devices_of(device: str | Device | Sequence[str | Device]) -> list[Device]:
    """The devices that are asked for: one, several, or several names in one string, "cuda:0,cuda:1"."""
    if isinstance(device, str):
        return [Device.of(name) for name in device.split(",")]
    if isinstance(device, Sequence):
        if not device:
            raise InputError("device is an empty list; give one device at least.")
        return [Device.of(each) for each in device]
    return [Device.of(device)]
