"""The one place where onnxruntime is imported and sessions are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from threading import Event, Lock, Timer
from types import ModuleType
from typing import Any

import numpy as np
import onnx

from ..errors import ModelError, RuntimeMissingError, how_to_install
from .files.weights import Weights
from .graph import Graph, TensorType, reads, weights_of
from .limits import Limits, in_words, refused
from .raised import as_model_error

CPU_PROVIDER = "CPUExecutionProvider"
_CANNOT = "onnxruntime cannot run this model"
_SEVERITY_FATAL = 4  # what onnxruntime has to say reaches the user through our exceptions


def onnxruntime() -> ModuleType:
    """The onnxruntime module.

    Raises
    ------
    RuntimeMissingError
        It is not installed; the message says which extra installs it.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise RuntimeMissingError(
            f"onnxruntime is not installed; install it with: {how_to_install('cpu')}"
        ) from error
    return ort  # type: ignore[no-any-return]


def session_options(threads: int | None = None) -> Any:
    """Options for sessions that compute: `threads` inside an operator (None: all cores).

    Subnormal numbers are not flushed to zero, though backward passes fade out in them: onnxruntime
    would switch that on for the calling thread and leave it on, for all other code of the process.
    Quantised networks are computed as they are written: onnxruntime would join what lies between two
    quantisations into one operator on integers, and quantise float weights for it, where no backward pass
    reads what is in between, so that a layer had other values in the forward pass than beside its gradient.
    """
    options = onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def session(
    model: onnx.ModelProto,
    options: Any = None,
    *,
    weights: Weights | None = None,
    providers: Sequence[Any] = (CPU_PROVIDER,),
) -> Any:
    """An InferenceSession of `model`, its detached weights taken from memory without a copy.

    `weights` may hold more than the model has (`weights_of`): those of the file that it was cut from.

    Raises
    ------
    ModelError
        onnxruntime cannot load the model; its reason is given in one line.
    """
    ort = onnxruntime()
    options = options or ort.SessionOptions()
    options.log_severity_level = _SEVERITY_FATAL
    apart = weights_of(model, weights or {})
    with as_model_error(_CANNOT):
        held = {k: ort.OrtValue.ortvalue_from_numpy(_contiguous(v)) for k, v in apart.items()}
        if held:
            options.add_external_initializers(list(held), list(held.values()))
        return ort.InferenceSession(
            model.SerializeToString(), options, providers=list(providers), enable_fallback=0
        )


def graph_session(
    graph: Graph,
    options: Any = None,
    *,
    typed_outputs: bool = True,
    providers: Sequence[Any] = (CPU_PROVIDER,),
) -> Any:
    """A session of a graph, as `session`.

    On the CPU its huge matrices are fed at every run, which copies nothing; elsewhere they are copied to the
    device once, as all weights are.
    """
    fed = fed_matrices(graph, providers)
    if fed:
        graph = copy(graph)
        graph.inputs = {**graph.inputs, **{k: TensorType(v.shape, v.dtype) for k, v in fed.items()}}
        graph.constants = {k: v for k, v in graph.constants.items() if k not in fed}
    model, weights = graph.detached(typed_outputs=typed_outputs)
    opened = session(model, options, weights=weights, providers=providers)
    return FedSession(opened, fed) if fed else opened


class FedSession:
    """An InferenceSession, some of whose weights are inputs with values that stay.

    onnxruntime copies the weights of a model, and packs a matrix anew for each node that reads it. The
    400 MB of VGG's first dense layer would be held up to four times, and opening take three times as long.
    """

    def __init__(self, opened: Any, weights: Weights) -> None:
        self._session = opened
        self._weights = {k: _contiguous(v) for k, v in weights.items()}

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """As InferenceSession.run."""
        return list(self._session.run(outputs, {**self._weights, **feeds}))

    def io_binding(self) -> Any:
        """As InferenceSession.io_binding; the weights are bound."""
        io = self._session.io_binding()
        for name, value in self._weights.items():
            io.bind_input(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)
        return io

    def run_with_iobinding(self, binding: Any, run_options: Any = None) -> None:
        """As InferenceSession.run_with_iobinding."""
        self._session.run_with_iobinding(binding, run_options)


# Bytes from which on a matrix is fed. Below, packing it pays, as in a vision transformer.
_HUGE = 64 << 20


def fed_matrices(graph: Graph, providers: Sequence[Any]) -> Weights:
    """What is fed on the CPU: large constants that only Gemm reads.

    Its gradient takes them as they are, MatMul's transposed.
    """
    if list(providers) != [CPU_PROVIDER]:
        return {}
    names = {k for k, v in graph.constants.items() if v.nbytes >= _HUGE} - set(graph.inputs)
    names -= {x for node in graph.nodes if node.op != "Gemm" for x in reads(node)} | set(graph.outputs)
    return {name: graph.constants[name] for name in names}


def _contiguous(value: np.ndarray) -> np.ndarray:
    # a memory map is an ndarray of another class, which onnxruntime does not take
    return np.ascontiguousarray(value).view(np.ndarray)


def run(model: Any, outputs: Sequence[str] | None, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Run a session.

    Raises
    ------
    ModelError
        onnxruntime fails at run time, at a size that does not fit for instance.
    """
    with as_model_error(_CANNOT):
        return list(model.run(outputs, dict(feeds)))


def run_bound(model: Any, binding: Any, run_options: Any = None) -> None:
    """Run a session on bound buffers; raises as `run`."""
    with as_model_error(_CANNOT):
        model.run_with_iobinding(binding, run_options)


def queued(graph_id: int) -> Any:
    """Options of a run on a GPU that returns when its work is queued, and may be replayed as a CUDA graph.

    Parameters
    ----------
    graph_id : int
        Each set of bound buffers has a graph of its own, since it replays on their addresses; -1 for none.
    """
    options = onnxruntime().RunOptions()
    options.log_severity_level = _SEVERITY_FATAL
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    options.add_run_config_entry("gpu_graph_id", str(graph_id))
    return options


def run_within(
    limits: Limits,
    what: str,
    model: onnx.ModelProto,
    outputs: Sequence[str],
    feeds: Mapping[str, np.ndarray],
    weights: Weights | None = None,
    own: int = 0,
) -> list[np.ndarray]:
    """Run a model once, for what is to be known of it, in no more memory and time than `limits` allow.

    Parameters
    ----------
    limits : Limits
        `folded_bytes` and `seconds`.
    what : str
        What the run is for, in a message.
    model, outputs, feeds, weights
        As of `session` and `run`. Nothing is optimised, which would compute without limits.
    own : int
        Bytes that the network is known to need; its weights are counted here.

    Raises
    ------
    ModelError
        Onnxruntime cannot run it, or not within the limits.
    """
    ort, most = onnxruntime(), limits.folded_bytes + own + 3 * model.ByteSize()
    most += 3 * sum(value.nbytes for value in (weights or {}).values())
    options, run_options = session_options(), ort.RunOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.use_env_allocators", "1")
    run_options.log_severity_level = _SEVERITY_FATAL
    late = Event()

    def stop() -> None:
        late.set()
        run_options.terminate = True

    timer = Timer(limits.seconds, stop)
    timer.daemon = True
    with _PROBING:  # the allocator is one of the whole process, and a session keeps what is there
        _limit_memory(ort, most)
        try:
            opened = session(model, options, weights=weights)
        finally:
            _limit_memory(ort, _UNLIMITED)  # for sessions of others that ask for it
    timer.start()
    try:
        with as_model_error(_CANNOT):
            return list(opened.run(outputs, dict(feeds), run_options))
    except ModelError as error:
        if late.is_set():
            took = f"{what} took longer than {limits.seconds:g} s"
            raise refused(took, "seconds", 10 * limits.seconds, spent=True) from None
        if _NO_ROOM in str(error.__cause__):
            needs = f"{what} needs more than {in_words(most)}"
            raise refused(needs, "folded_bytes", 10 * most, spent=True) from None
        raise
    finally:
        timer.cancel()


_PROBING = Lock()
_UNLIMITED = 0
_NO_ROOM = "Available memory of"  # how the allocator says that its limit is reached


def _limit_memory(ort: ModuleType, most: int) -> None:
    """Let sessions that take the allocator of the process have so many bytes each from now on."""
    where = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    as_asked = 1  # not twice as much at each step
    ort.create_and_register_allocator(
        where, ort.OrtArenaCfg({"max_mem": most, "arena_extend_strategy": as_asked})
    )
