"""The table of operators, docs/operators.md, from the rules themselves.

``python -m sobolevflow.onnxgrad.operators > docs/operators.md`` writes it.
"""

from __future__ import annotations

import sys
from collections import Counter

from onnx import defs

from .normal_form.fold import FOLDED
from .normal_form.fused import FUSED
from .normal_form.legacy import LEGACY
from .normal_form.opset import FUNCTIONS, NEWEST_OPSET, OLDEST_OPSET
from .normal_form.quantized import LOWERED
from .rules import RULES

_MEANINGS = {
    "rule": "a gradient rule",
    "linear rule": "a gradient rule, and the operator is linear in those of its inputs that have a gradient",
    "body": "replaced by the function body that ONNX defines for it, whose operators have rules",
    "folded": "replaced before the rules are asked",
    "stops": "no gradient flows through it, for its derivative is zero wherever it exists; this is reported",
    "discrete": "takes or gives no float tensors, so that no gradient flows through it",
    "refused": "no rule yet: an error names it where it stands between the image and the value",
}

_INTRODUCTION = f"""# Operators

What the gradient does at every operator of ONNX's own domain. Models of opset {OLDEST_OPSET} to
{NEWEST_OPSET} are taken; *since* is the opset that defined the operator as it is in opset {NEWEST_OPSET}.
Remarks give the conventions at ties and kinks, and restrictions: what is refused is an error that
names the node. An operator that the image does not reach needs no rule. A rule of your own is one
function: [gradient.md](gradient.md).

Written by `python -m sobolevflow.onnxgrad.operators > docs/operators.md`.
"""


def status(op: str) -> tuple[str, str]:
    """What the gradient does at an operator, and the remark on it."""
    if op in RULES.entries:
        entry = RULES.entries[op]
        remark = " ".join((entry.rule.__doc__ or "").split()).replace("``", "`")
        return ("linear rule" if entry.linear else "rule"), remark
    if op in FUNCTIONS:
        return "body", ""
    if op in LOWERED:
        return "folded", "by the same operator on dequantised numbers"
    if op == "If":
        return "folded", "by its branch, where its condition does not depend on the image; else refused"
    if op in FOLDED:
        return "folded", FOLDED[op]
    if op in RULES.stops:
        return "stops", RULES.stops[op]
    return ("refused" if _carries_floats(op) else "discrete"), ""


def operators() -> dict[str, int]:
    """All operators of ONNX's own domain at the newest opset, with the opset of their definition."""
    names = {schema.name for schema in defs.get_all_schemas() if schema.domain == ""}
    known = {}
    for name in sorted(names):
        try:
            schema = defs.get_schema(name, NEWEST_OPSET, "")
        except defs.SchemaError:  # newer than that
            continue
        if not schema.deprecated:
            known[name] = schema.since_version
    return known


def _carries_floats(op: str) -> bool:
    """Whether float tensors may go in and come out."""
    schema = defs.get_schema(op, NEWEST_OPSET, "")
    # the body of an If or Loop reads what is around it, which the schema does not declare
    if any(a.type == defs.OpSchema.AttrType.GRAPH for a in schema.attributes.values()):
        return True
    return all(
        any("tensor(float)" in kind for parameter in parameters for kind in parameter.types)
        for parameters in (schema.inputs, schema.outputs)
    )


def table() -> str:
    """The page, in Markdown."""
    rows = {op: (since, *status(op)) for op, since in operators().items()}
    counts = Counter(kind for _, kind, _ in rows.values())
    lines = [_INTRODUCTION, "| gradient | operators | |", "|---|---|---|"]
    lines += [f"| {kind} | {counts[kind]} | {meaning} |" for kind, meaning in _MEANINGS.items()]
    lines += ["", "| operator | since | gradient | remarks |", "|---|---|---|---|"]
    lines += [f"| {op} | {since} | {kind} | {remark} |" for op, (since, kind, remark) in rows.items()]
    old = ", ".join(sorted(LEGACY))
    lines += [
        "",
        f"Upsample becomes Resize. {old}, which no opset defines any more, are rewritten into the above.",
        "",
        "Of what onnxruntime's optimiser writes, and its operators on quantised numbers, these are as well:",
        f"{_listed([*FUSED, *LOWERED])}.",
    ]
    return "\n".join(lines) + "\n"


def _listed(operators: list[str]) -> str:
    """Operators of other domains, and of none, by name."""
    named = {op.rpartition(":")[2] for op in operators if ":" in op or not defs.has(op, "")}
    return ", ".join(sorted(named))


if __name__ == "__main__":
    sys.stdout.write(table())
