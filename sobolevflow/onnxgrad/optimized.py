"""Operators that onnxruntime's optimiser writes into the file it saves, and what to say of them."""

from __future__ import annotations

# By its processor's layout: those of a domain of their own.
_LAYOUT = "com.microsoft.nchwc:"
_MICROSOFT = "com.microsoft:"
# Of those that several operators are fused into, and those with a layout of their own; exporters and tools
# for quantisation write others of that domain.
_FUSED = {
    *("Attention", "BiasAdd", "BiasDropout", "BiasGelu", "BiasSoftmax", "BiasSplitGelu", "BitmaskDropout"),
    *("BitmaskBiasDropout", "DynamicQuantizeMatMul", "EmbedLayerNormalization", "FastGelu", "FusedConv"),
    *("FusedGemm", "FusedMatMul", "FusedMatMulActivation", "Gelu", "GemmFastGelu", "GroupNorm"),
    *("GroupQueryAttention", "MatMulIntegerToFloat", "MatMulNBits", "MultiHeadAttention", "NhwcConv"),
    *("NhwcFusedConv", "NhwcMaxPool", "QuickGelu", "RotaryEmbedding", "SkipGroupNorm"),
    *("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "TransposeMatMul"),
}


def without_rule(op: str, label: str) -> str:
    """That an operator, as rules name it, has no gradient rule, at a node; and where it may come from."""
    text = f"no gradient rule for operator {op} (node {label})"
    if not is_optimized(op):
        return text
    return (
        f"{text}, which onnxruntime's optimiser writes into the files that it saves; use the original file, "
        "or save it anew with graph_optimization_level ORT_ENABLE_BASIC"
    )


def is_optimized(op: str) -> bool:
    """Whether onnxruntime's optimiser writes this operator."""
    domain, name = op[: op.find(":") + 1], op[op.find(":") + 1 :]
    return domain == _LAYOUT or (domain == _MICROSOFT and name in _FUSED)
