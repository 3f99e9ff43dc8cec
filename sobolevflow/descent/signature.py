"""What `visualize` and `invert` show of themselves: signature and help, made from the declaration."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from functools import wraps
from inspect import Parameter as Argument, Signature, cleandoc
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, cast

from .declaration import parameters
from .declaring import Parameter, Task

if TYPE_CHECKING:
    from ..network import Network
    from ..objectives import Objective
    from ..results import Result

P = ParamSpec("P")

# In the docstring, where the parameters are to stand.
_MARK = """**given
    Parameters of the descent, declared and explained in `sobolevflow.descent.declaration`."""


class Descent(Protocol[P]):
    """`visualize` or `invert`, for type checkers and editors: the parameters are those of a declaration."""

    def __call__(self, net: Network, objective: Objective, *args: P.args, **given: P.kwargs) -> Result:
        """Descend."""
        ...


def descends(task: Task, of: Callable[P, object]) -> Callable[[Callable[..., Result]], Descent[P]]:
    """Decorator of a function (net, objective, **given): it shows what is declared, and is given all of it.

    Parameters
    ----------
    task : {"visualize", "invert"}
    of : class
        Its declaration, `ASKED` of the task, by itself for type checkers.
    """

    def declared(function: Callable[..., Result]) -> Descent[P]:
        shown = parameters(task)
        signature = _signature(shown)

        @wraps(function)
        def run(*args: Any, **given: Any) -> Result:
            try:
                bound = signature.bind(*args, **given)
            except TypeError as error:
                raise TypeError(f"{task}() {error}") from None
            bound.apply_defaults()
            return function(*bound.args, **bound.kwargs)

        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
        run.__annotations__["return"] = signature.return_annotation
        if function.__doc__ is not None:  # as it is under python -OO
            run.__doc__ = cleandoc(function.__doc__).replace(_MARK, "\n".join(map(_paragraph, shown)))
        return cast("Descent[P]", run)

    return declared


def _signature(shown: list[Parameter]) -> Signature:
    either, keyword = Argument.POSITIONAL_OR_KEYWORD, Argument.KEYWORD_ONLY
    first = [
        Argument("net", either, annotation="Network"),
        Argument("objective", either, annotation="Objective"),
    ]
    others = [Argument(p.name, keyword, default=p.default, annotation=p.annotation) for p in shown]
    return Signature([*first, *others], return_annotation="Result")


def _paragraph(each: Parameter) -> str:
    """The entry of a parameter in a docstring, with what it is where it is left open."""
    kind, _, text = each.doc.partition("\n")
    lines = [text] if each.otherwise is None else [text, f"Unless given, {each.otherwise}."]
    return f"{each.name} : {kind}\n{textwrap.indent(chr(10).join(lines), ' ' * 4)}"
