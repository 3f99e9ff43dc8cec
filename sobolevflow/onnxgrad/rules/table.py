"""The table that rules are entered into, and the door for rules of the user's own."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import InputError
from ..backward import Rule, RuleTable, Step

RULES = RuleTable()
rule = RULES.add


def formula(
    op: str,
    *of_inputs: Callable[..., str],
    remark: str = "",
    broadcasts: bool = False,
    linear: bool = False,
) -> None:
    """Enter a rule as one formula for each input of the operator, in ``(g, y, *x)``.

    `g` is the gradient of the output `y`, `x` are the inputs; the remark is that in docs/operators.md.
    """

    def rule(s: Step, i: int) -> str:
        return of_inputs[i](s.g, s.y, *s.x)

    rule.__doc__ = remark
    RULES.add(op, broadcasts=broadcasts, linear=linear)(rule)


def register(
    op: str, domain: str = "", *, broadcasts: bool = False, linear: bool = False
) -> Callable[[Rule], Rule]:
    """Decorator that gives an operator a gradient rule, from then on and everywhere.

    Parameters
    ----------
    op : str
        The operator's name. A rule that exists is replaced, and an operator at which the flow stopped
        (Round, for a straight-through estimator) passes it on. Operators that `docs/operators.md`
        calls replaced, such as Gelu, are not asked for a rule. Networks that are open already may
        have listed their layers without it: open them again.
    domain : str
        Its domain; empty for ONNX's own. onnxruntime must be able to run the operator.
    broadcasts : bool
        The rule may return a gradient in the shape of the output, for an operator that broadcasts
        its inputs; it is summed down to the shape of the input.
    linear : bool
        The operator is linear in its inputs. Documentation and tests use it, nothing else.

    Returns
    -------
    callable
        To be put on ``rule(step, i)``, which appends the backward pass of one node of the operator
        and returns the gradient with respect to its input number `i`, or None for zero. ``step.g`` is
        the gradient of the first output (``step.grads`` has all), ``step.x`` are the inputs and
        ``step.y`` is the first output: names of tensors that can be added, subtracted, multiplied and
        divided, by numbers too. ``step.op(name, *inputs, **attributes)`` appends a node of ONNX's opset
        18, ``step.const(value)`` a constant, and ``step.attr(name, default)`` reads an attribute.
        ``raise Refusal("its ...")`` refuses a use of it.

    Examples
    --------
    y = x sigmoid(alpha x), of onnxruntime's own domain:

    >>> @register("QuickGelu", "com.microsoft")
    ... def quick_gelu(step, i):
    ...     alpha = step.attr("alpha", 1.702)
    ...     gate = step.op("Sigmoid", alpha * step.x[0])
    ...     return step.g * (gate + alpha * step.y * (1 - gate))
    """
    if not (isinstance(op, str) and isinstance(domain, str)):
        raise InputError("an operator is given by its name and its domain, both texts")
    own = domain in ("", "ai.onnx")
    return RULES.add(op if own else f"{domain}:{op}", broadcasts=broadcasts, linear=linear)
