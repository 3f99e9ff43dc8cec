"""Sessions of onnxruntime on the device that was asked for, or an error that says why there is none.

Left to itself onnxruntime prints a warning when a provider cannot be loaded and runs everything on the CPU,
and puts single nodes there that a provider has no kernel for. Here both are errors.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from ..errors import DeviceError, ModelError, RuntimeMissingError, how_to_install
from ..onnxgrad import CPU_PROVIDER, Graph, graph_session, onnxruntime, session_options
from .device import CUDA, TENSORRT, Device
from .failures import explained, recognised
from .installation import cuda_trouble, preload_libraries

_MOST_NAMED = 5
_NO_CPU = ("session.disable_cpu_ep_fallback", "1")
_RECORD = ("session.record_ep_graph_assignment_info", "1")


def open_on(
    graph: Graph, device: Device, stream: int = 0, threads: int | None = None
) -> tuple[Any, list[str]]:
    """A session of `graph` that runs on `device`, and notes on what of it runs elsewhere.

    Parameters
    ----------
    graph : Graph
    device : Device
    stream : int
        The address of the CUDA stream to compute on.
    threads : int, optional
        On the CPU, inside an operator.

    Returns
    -------
    session
        On CUDA, unless the device is ``mixed``, all of its nodes run there.
    notes : list of str

    Raises
    ------
    RuntimeMissingError
        The onnxruntime that is installed has no such provider.
    DeviceError
        The provider cannot be loaded, has no kernels for any of the nodes, or on CUDA for some: they are
        named.
    ModelError
        Onnxruntime cannot run the graph on the CPU.
    """
    if device.provider == CPU_PROVIDER:
        return graph_session(graph, session_options(threads)), []
    check_installed(device)
    options = session_options(threads)
    strict = device.name == CUDA and not device.mixed
    options.add_session_config_entry(*(_NO_CPU if strict else _RECORD))
    try:
        opened = _opened(graph, device, stream, options)
    except ModelError as error:
        raise _refused(graph, device, stream, error) from error
    if device.provider not in opened.get_providers():
        raise _not_loaded(device)
    elsewhere = Counter[str]() if strict else _nodes_elsewhere(opened)
    return opened, [_note(elsewhere, device)] if elsewhere else []


def _note(elsewhere: Counter[str], device: Device) -> str:
    return (
        f"{device.provider} leaves {sum(elsewhere.values())} of the nodes to the CPU ({_named(elsewhere)}), "
        "with copies there and back at every step"
    )


def check_installed(device: Device) -> None:
    """RuntimeMissingError unless the onnxruntime that is installed was built with the device's provider."""
    available = onnxruntime().get_available_providers()
    if device.provider in available:
        return
    remedy = (
        f"Remove the wheels of onnxruntime that are installed, then: {how_to_install('cuda13')}; onnxruntime "
        "and onnxruntime-gpu share a folder."
        if device.name == CUDA
        else "Install the build of onnxruntime that has it."
    )
    raise RuntimeMissingError(
        f"device {str(device)!r}: this onnxruntime has no {device.provider}, only "
        f"{', '.join(available)}. {remedy} 'sobolevflow doctor' looks at the installation."
    )


def _opened(graph: Graph, device: Device, stream: int, options: Any) -> Any:
    if device.name in (CUDA, TENSORRT):
        preload_libraries(onnxruntime())
    return graph_session(graph, options, providers=device.providers(stream))


def _not_loaded(device: Device) -> DeviceError:
    reason = cuda_trouble() if device.name == CUDA else ""
    return DeviceError(
        f"device {str(device)!r}: onnxruntime could not load its {device.provider}, or refused one of its "
        f"options. {reason or 'Are the libraries that it needs installed?'} 'sobolevflow doctor' looks at "
        "the installation."
    )


def _refused(graph: Graph, device: Device, stream: int, error: ModelError) -> DeviceError:
    """Why a session of `graph` cannot be had: a failure with a name, a missing provider, or some nodes."""
    found = recognised(error, str(device))
    if found is not None:
        return found
    found = explained(error, str(device))
    options = session_options()
    options.add_session_config_entry(*_RECORD)
    try:
        # CUDA graphs are for sessions without a node elsewhere only, and those are looked for
        opened = _opened(graph, replace(device, graphs=False), stream, options)
    except ModelError:
        return found
    if device.provider not in opened.get_providers():
        return _not_loaded(device)
    elsewhere = _nodes_elsewhere(opened)
    if not elsewhere:
        return found
    return DeviceError(
        f"device {str(device)!r}: {device.provider} has no kernels for {sum(elsewhere.values())} of the "
        f"nodes ({_named(elsewhere)}), which would run on the CPU. Choose an earlier layer, or allow it: "
        f"sf.Device({device.name!r}, mixed=True)."
    )


def _named(nodes: Counter[str]) -> str:
    return ", ".join(f"{count} {op}" for op, count in nodes.most_common(_MOST_NAMED))


def _nodes_elsewhere(opened: Any) -> Counter[str]:
    """Operators of the nodes that the CPU would run, with their numbers."""
    if not hasattr(opened, "get_provider_graph_assignment_info"):  # before onnxruntime 1.26
        return Counter()
    parts = opened.get_provider_graph_assignment_info()
    return Counter(
        node.op_type for part in parts if part.ep_name == CPU_PROVIDER for node in part.get_nodes()
    )
