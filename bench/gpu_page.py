"""The tables of docs/gpu.md and of README, from what bench/gpu.py has measured: python bench/gpu_page.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from generated import Parts, Record, read_record, table, write_pages
from gradients import NETWORKS as NAMES
from paths import DOCS, GPU_RECORDS, README

PAGES = {DOCS / "gpu.md": ("gradients", "descents"), README: ("summary",)}
LIBRARIES = ("onnxruntime", "torch", "cupy")
OURS = "sobolevflow"
TARGET = 0.03  # the share of a run of VGG19 that is not the network
SUBJECTS = {"gradients": "Gradients have", "descents": "Whole descents have"}


def parts(records: list[Record]) -> Parts:
    """The text of every part."""
    return {
        "gradients": _of_all(records, "gradients", gradients),
        "descents": _of_all(records, "descents", descents),
        "summary": summary(records),
    }


def _of_all(records: list[Record], key: str, made: Any) -> str:
    found = [f"{caption(r)}\n\n{made(r[key])}" for r in records if r.get(key)]
    return "\n\n".join(found) or not_measured(key)


def not_measured(key: str) -> str:
    """What there is no record of."""
    return f"{SUBJECTS[key]} not been measured on a card yet: `python bench/gpu.py` does."


def caption(record: Record) -> str:
    """The card, its libraries and the date."""
    at = record["machine"]
    known = at["versions"]
    versions = ", ".join(f"{name} {known[name]}" for name in LIBRARIES if name in known)
    return f"{at['card']}, {versions}, {record['date']}:"


def gradients(rows: list[Record]) -> str:
    """Milliseconds of value and gradient by candidate, one line a network and batch."""
    labels = list(dict.fromkeys(label for row in rows for label in row["candidates"]))
    body = [
        [NAMES[row["network"]], str(row["batch"]), *(_cell(row["candidates"].get(k, {})) for k in labels)]
        for row in rows
    ]
    return table(["network", "N", *labels], *body)


def _cell(facts: Record) -> str:
    return f"{facts['ms']:.4g}" if "ms" in facts else "-" if facts else ""


def descents(rows: list[Record]) -> str:
    """Seconds of whole runs, and the share of them that is not the network."""
    body = [
        [
            NAMES[r["network"]],
            str(r["batch"]),
            r["scheme"],
            f"{r['seconds']:.3g}",
            f"{r['network_alone']:.3g}",
            f"{100 * r['share_not_network']:.1f} % (aim {100 * TARGET:.0f} %)",
        ]
        for r in rows
    ]
    return table(["network", "N", "scheme", "160 steps, s", "network alone, s", "not the network"], *body)


def summary(records: list[Record]) -> str:
    """README's table: every network at N = 1, ours and the best of PyTorch's."""
    found = [r for r in records if r.get("gradients")]
    if not found:
        rows = [[name, "not measured yet", "not measured yet"] for name in NAMES.values()]
        heading = ["gradient on an NVIDIA GPU, N = 1", "sobolevflow, ms", "best of PyTorch's, ms"]
        cards = ", ".join(r["machine"]["card"] for r in records if r.get("speed"))
        filters = f" Filters have, on {cards} ([docs/filters.md](docs/filters.md#on-a-gpu))." if cards else ""
        return f"{table(heading, *rows)}\n\n{not_measured('gradients')}{filters}"
    record = found[0]
    body = [_line(row["network"], row["candidates"]) for row in record["gradients"] if row["batch"] == 1]
    heading = [f"gradient on {record['machine']['card']}, N = 1", "sobolevflow, ms", "best of PyTorch's, ms"]
    return table(heading, *body)


def _line(network: str, candidates: Record) -> list[str]:
    peers = {k: v["ms"] for k, v in candidates.items() if "orch" in k and "TF32" not in k and "ms" in v}
    best = min(peers, key=peers.__getitem__) if peers else None
    theirs = "no PyTorch with CUDA at hand" if best is None else f"{peers[best]:.4g} ({best})"
    return [NAMES[network], _cell(candidates.get(OURS, {})), theirs]


def pages(records: list[Record] | None = None) -> dict[Path, Parts]:
    """The generated parts of the pages that tell what a GPU does."""
    made = parts([read_record(path) for path in GPU_RECORDS] if records is None else records)
    return {path: {key: made[key] for key in keys} for path, keys in PAGES.items()}


if __name__ == "__main__":
    write_pages("gpu_page.py", pages())
