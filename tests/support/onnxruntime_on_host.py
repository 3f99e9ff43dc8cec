"""A stand-in for onnxruntime with its CUDA provider: the same sessions, on the CPU; what was asked is noted.

Buffers that are bound as memory of a GPU are memory of the host here (see `cupy_on_numpy`).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

from sobolevflow.devices import sessions
from sobolevflow.onnxgrad import runtime

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class SessionOptions(onnxruntime.SessionOptions):  # type: ignore[misc]
    """Entries about the CPU, which is not to help out, are kept from it."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value


class Binding:
    """An IOBinding that takes memory of a GPU for that of the host."""

    def __init__(self, binding: Any) -> None:
        self.binding = binding

    def bind_input(self, name: str, kind: str, *rest: Any) -> None:
        assert kind == "cuda"
        self.binding.bind_input(name, "cpu", 0, *rest[1:])

    def bind_output(self, name: str, kind: str, *rest: Any) -> None:
        assert kind == "cuda"
        self.binding.bind_output(name, "cpu", 0, *rest[1:])


class InferenceSession:
    """A session of the provider that was asked for, which is the CPU in truth."""

    made: list[InferenceSession] = []  # noqa: RUF012
    fits = 1 << 20  # images for which there is memory
    error = "bad allocation: BFCArena::AllocateRawInternal Failed to allocate memory"
    fail_after: int | None = None  # runs of all sessions, after which the device is lost
    runs = 0

    def __init__(self, model: bytes, options: Any, *, providers: Any, enable_fallback: int) -> None:
        assert enable_fallback == 0
        self.session = onnxruntime.InferenceSession(model, options, providers=[CPU])
        self.provider, self.options = providers[0] if isinstance(providers[0], tuple) else (providers[0], {})
        self.entries, self.released = options.entries, list[int]()
        self.run_entries: list[dict[str, str]] = []
        InferenceSession.made.append(self)

    def get_providers(self) -> list[str]:
        return list(dict.fromkeys([self.provider, CPU]))

    def io_binding(self) -> Any:
        return Binding(self.session.io_binding()) if self.provider == CUDA else self.session.io_binding()

    def run(self, *arguments: Any) -> Any:
        return self.session.run(*arguments)

    def run_with_iobinding(self, binding: Any, run_options: Any = None) -> None:
        if self.provider != CUDA:
            self.session.run_with_iobinding(binding, run_options)
            return
        InferenceSession.runs += 1
        if InferenceSession.fail_after is not None and InferenceSession.runs > InferenceSession.fail_after:
            raise RuntimeError("CUDA failure 719: unspecified launch failure ; GPU=0")
        if self.session.get_inputs()[0].shape[0] > InferenceSession.fits:
            raise RuntimeError(InferenceSession.error)
        names = ("gpu_graph_id", "disable_synchronize_execution_providers")
        self.run_entries.append({name: run_options.get_run_config_entry(name) for name in names})
        self.session.run_with_iobinding(binding.binding)

    def release_captured_graph(self, number: int) -> None:
        self.released.append(number)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `sobolevflow` find this in the place of onnxruntime."""
    module = SimpleNamespace(**vars(onnxruntime))
    module.SessionOptions, module.InferenceSession = SessionOptions, InferenceSession
    module.get_available_providers = lambda: [CUDA, CPU]
    module.preload_dlls = lambda: None
    monkeypatch.setattr(runtime, "onnxruntime", lambda: module)
    monkeypatch.setattr(sessions, "onnxruntime", lambda: module)
    InferenceSession.made, InferenceSession.runs = [], 0
    InferenceSession.fits, InferenceSession.fail_after = 1 << 20, None
