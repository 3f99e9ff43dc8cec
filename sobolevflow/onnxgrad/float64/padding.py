"""Padding and cropping."""

from __future__ import annotations

import numpy as np
from onnx.reference.op_run import OpRun


class Pad(OpRun):
    """Padding in which negative widths crop, which onnx's own evaluator refuses."""

    def _run(
        self,
        x: np.ndarray,
        pads: np.ndarray,
        value: np.ndarray | None = None,
        axes: np.ndarray | None = None,
        mode: str = "constant",
    ) -> tuple[np.ndarray]:
        named = range(x.ndim) if axes is None else [int(k) % x.ndim for k in axes]
        widths, crop = [(0, 0)] * x.ndim, [slice(None)] * x.ndim
        for k, axis in enumerate(named):
            begin, end = int(pads[k]), int(pads[len(named) + k])
            widths[axis] = (max(begin, 0), max(end, 0))
            crop[axis] = slice(max(-begin, 0), -max(-end, 0) or None)
        fill = {"constant_values": 0 if value is None else value.item()} if mode == "constant" else {}
        return (np.pad(x, widths, mode=mode, **fill)[tuple(crop)],)  # type: ignore[call-overload]
