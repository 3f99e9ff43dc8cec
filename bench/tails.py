"""How exact slopes of activations are where they saturate, and how exact their textbook forms are.

    python bench/tails.py           # seconds
    python bench/tails.py --page    # docs/gradient.md from the committed record

Sweeps the range of float32 and writes bench/results/tails.json and the table of docs/gradient.md.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace
from datetime import date
from pathlib import Path

from generated import Parts, Record, machine, read_record, table, write_pages, write_record
from paths import DOCS, RESULTS

RECORD, PAGE = RESULTS / "tails.json", DOCS / "gradient.md"
SHOWN = {
    "Sigmoid": "Sigmoid",
    "Tanh": "Tanh",
    "Softplus": "Softplus",
    "Elu": "Elu",
    "Mish": "Mish",
    "1 / (1 + exp(-x))": "1 / (1 + exp(-x))",
    "x sigmoid(x)": "x sigmoid(x)",
    "x (1 + erf) half": "Gelu by Erf",
    "half x (1 + tanh)": "Gelu by Tanh",
    "Asinh": "Asinh",
    "Atanh": "Atanh",
}


def measured() -> list[Record]:
    """The largest relative error of each slope, and of its textbook form."""
    from sobolevflow.onnxgrad import RULES
    from tests.support.tails import TAILS, TEXTBOOK, largest_error

    textbook = copy.deepcopy(RULES)
    textbook.compositions.clear()
    for op, rule in TEXTBOOK.items():
        textbook.add(op, broadcasts=op == "Mul")(rule)
    rows = []
    for name in SHOWN:
        tail = TAILS[name]
        # where x^3 is no float32 the textbook form of Gelu by Tanh is no number at all
        finite = replace(tail, low=-1e12, high=1e12) if "tanh)" in name else tail
        (before, _), (error, _) = largest_error(finite, textbook), largest_error(tail)
        rows.append({"slope": name, "textbook": float(f"{before:.1e}"), "error": float(f"{error:.1e}")})
    return rows


def pages() -> dict[Path, Parts]:
    """The table of docs/gradient.md."""
    rows = [
        [SHOWN[r["slope"]], f"{r['textbook']:.0e}", f"{r['error']:.0e}"]
        for r in read_record(RECORD)["slopes"]
    ]
    return {PAGE: {"tails": table(["slope of", "textbook form", "here"], *rows)}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", action="store_true", help="only write the page, from the record")
    if not parser.parse_args().page:
        record = {"date": date.today().isoformat(), "machine": machine(1), "slopes": measured()}
        write_record(RECORD, record)
    write_pages(Path(__file__).name, pages())


if __name__ == "__main__":
    main()
