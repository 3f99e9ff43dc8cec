"""Gradient ascent on an image: python ascend.py grad.onnx CLASS image.raw."""

import json
import sys

import numpy as np
import onnxruntime as ort

STEPS, TAU = 10, 0.02

path, which, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
options = ort.SessionOptions()
options.log_severity_level = 3  # it would warn of the inputs that have a default
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
labels = json.loads(session.get_modelmeta().custom_metadata_map.get("sobolevflow.labels", "null"))
print(f"class {which}" if labels is None else f"class {which}, {labels[which]}")

shape = session.get_inputs()[0].shape  # (N, C, H, W)
u = np.full(shape, 0.5, np.float32)
target = np.full(shape[0], which, np.int64)
for step in range(STEPS):
    value, g = session.run(["value", "gradient"], {"image": u, "class": target})
    print(step, f"{value[0]:.6f}")
    u = np.clip(u + TAU * g / np.abs(g).mean(), 0, 1).astype(np.float32)
u.tofile(out)  # float32, (N, C, H, W)
