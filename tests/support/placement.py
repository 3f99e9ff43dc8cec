"""Create a CUDA session of a model and print, as JSON, which provider owns its nodes (run as a script)."""

from __future__ import annotations

import json
import sys
from collections import Counter

import onnxruntime as ort


def owners(path: str) -> dict[str, dict[str, int]]:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = ort.InferenceSession(path, options, providers=["CUDAExecutionProvider"])
    found: dict[str, Counter[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        found.setdefault(part.ep_name, Counter()).update(node.op_type for node in part.get_nodes())
    return {provider: dict(ops) for provider, ops in found.items()}


if __name__ == "__main__":
    print(json.dumps(owners(sys.argv[1])))
