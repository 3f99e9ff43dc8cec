"""What an objective is: elementary ones, and the weighted sums that they make.

An objective reports one number per image and knows its sense: `Class`, `Channel`, `Neuron`,
`Direction` and `Layer` are maximised, `Inversion` is minimised. An elementary one is a frozen
dataclass that says which layer it looks at and which few ONNX nodes make its value (`emit`).
What distinguishes one class, unit or target from another is a runtime input of those nodes, so
that one onnxruntime session serves all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .. import checks
from ..arrays import borrow_numbers, fingerprint, library, shape_of, to_host
from ..capacity import check_fits
from ..errors import InputError, as_option

if TYPE_CHECKING:
    from ..network import Network
    from ..onnxgrad import Value
    from .emitter import Emitter

# The metadata of a field that holds an array, which a manifest shows the fingerprint of.
ARRAY: Mapping[str, bool] = {"array": True}

_MOST_INDICES = 2_000_000  # of a batch
_MOST_AXES = 64  # that an array of NumPy has

_FEW = 8  # indices that a text lists


class Objective:
    """Base of all objectives: algebra and the interface to the gradient model."""

    maximize: bool | None = True
    __array_ufunc__ = None  # NumPy leaves products and sums with arrays to the methods below
    whole_batch = False  # whether the value of an image depends on the others
    awaits_image = False  # whether it has no value before `at` has told it where to look something up
    at_a_place = False  # whether it is of a part of the image, which Grad-CAM does not tell from the others

    def __mul__(self, weight: float) -> Combination:
        return Combination(((checks.single(weight, "the weight of an objective"), self),), self.maximize)

    __rmul__ = __mul__

    def __neg__(self) -> Combination:
        return self * -1.0

    def __add__(self, other: Objective) -> Combination:
        if not isinstance(other, Objective):
            return NotImplemented
        sense = self.maximize if self.maximize == other.maximize else None
        return Combination((*self.weighted(), *other.weighted()), sense)

    def __sub__(self, other: Objective) -> Combination:
        if not isinstance(other, Objective):
            return NotImplemented
        return self + -other

    def weighted(self) -> list[tuple[float, Leaf]]:
        """The elementary objectives that it is made of, with their weights."""
        raise TypeError(f"{type(self).__name__} must derive from Leaf")

    def leaves(self) -> list[Leaf]:
        """The elementary objectives that it is made of."""
        return [leaf for _, leaf in self.weighted()]

    def for_images(self, images: Sequence[int], net: Network | None = None) -> Objective:
        """The same with the targets of some images of its batch alone.

        Parameters
        ----------
        images
            Their numbers in the batch, from 0.
        net
            Tells which arrays hold an entry for each image; without it arrays stay as they are.
        """
        return self

    def named_in(self, net: Network) -> Objective:
        """The same with its layers by their names in the file."""
        return self

    def at(self, image: Any) -> Objective:
        """The same, with what it looks up in an image looked up in this one, unless it has one of its own.

        Parameters
        ----------
        image : array, shape (N, C, H, W) or (C, H, W)
        """
        return self

    def notes(self, net: Network) -> list[str]:
        """What to know of it in a network, each thing once."""
        return list(dict.fromkeys(note for leaf in self.leaves() for note in leaf.notes(net)))

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able description for a run's manifest."""
        raise TypeError(f"{type(self).__name__} must define to_dict")


_OF_LAYERS = ("layer", "scores", "boxes")  # fields of leaves that name one


def check_asked(net: Any, objective: Any) -> Any:
    """The objective with its layers named as in the file; InputError unless these are a network and one."""
    from ..network import Network

    if not isinstance(objective, Objective):
        raise InputError(
            "objective must be one such as sf.Class(121) or sf.Channel(layer, 3), got "
            f"{checks.shown(objective)}."
        )
    if not isinstance(net, Network):
        raise InputError(f"net must be a network opened by sf.load, got {checks.shown(net)}.")
    return objective.named_in(net)


class Leaf(Objective):
    """An objective on one tensor of the network: a frozen dataclass that defines `emit`.

    Most have a field ``layer``, the user's name of that tensor; others define `tensor`. Fields that hold
    arrays, of whatever library, are declared with ``field(metadata=ARRAY)``, and the text of an objective has
    their shapes where its class says ``__repr__ = checks.summary``.
    """

    layer: str

    def __post_init__(self) -> None:
        """Refuse what is the name of no layer, and no axis, in any network."""
        layer, axis = vars(self).get("layer"), vars(self).get("axis")
        if layer is not None:
            checks.text(layer, "a layer", "the name of one")
        if axis is not None:
            if not checks.is_integer(axis) or abs(axis) > _MOST_AXES:
                checks.refuse(
                    axis, "the axis of the channels", "a whole number, such as 1, or -1 for the last"
                )
            object.__setattr__(self, "axis", int(axis))

    def tensor(self, net: Network) -> str:
        """The user's name of the tensor it looks at."""
        return self.layer

    def named_in(self, net: Network) -> Objective:
        """The same with its layers by their names in the file; who looks up an unknown one complains."""
        written = {name: vars(self)[name] for name in _OF_LAYERS if isinstance(vars(self).get(name), str)}
        short = {name: layer for name, layer in written.items() if layer not in net.shapes}
        full = {name: net.layer_name(layer) for name, layer in short.items() if net.layer_names(layer)}
        return replace(self, **full) if full else self  # type: ignore[type-var]

    def key(self, net: Network) -> tuple[Any, ...]:
        """What the shape of its graph depends on; equal keys share a session."""
        return (type(self).__name__, self.tensor(net))

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        """Append its nodes behind the tensor x, (N, ...); return its value, shape (N,)."""
        raise TypeError(f"{type(self).__name__} must define emit")

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        """Values of its runtime inputs for a batch, one entry per image."""
        return {}

    def notes(self, net: Network) -> list[str]:
        """What was assumed of its layer, and what to ask for instead: sentences for the user."""
        return []

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        """How to ask for the same unit in another layer, in Python and on the command line."""
        return f"sf.Layer({layer!r})", as_option("layer", layer)

    def fits(self, layer: str, net: Network) -> bool:
        """Whether another layer has the same unit, so that `spelled_at` asks for what was meant."""
        return True

    def nearest_at(self, layer: str, net: Network) -> tuple[str, str]:
        """As `spelled_at`, or where the layer has no such unit, how to ask for what is nearest to it."""
        return self.spelled_at(layer, net) if self.fits(layer, net) else Leaf.spelled_at(self, layer, net)

    def for_images(self, images: Sequence[int], net: Network | None = None) -> Self:
        """The same with the targets of some images of its batch alone."""
        count = self.natural_batch
        arrays = () if net is None else self.arrays_of_images(net)
        own: dict[str, Any] = {}
        for each in fields(self):  # type: ignore[arg-type]  # a leaf is a dataclass
            value = getattr(self, each.name)
            listed = isinstance(value, (list, tuple, range, np.ndarray)) and "array" not in each.metadata
            if each.name in arrays:
                array = as_array(value, each.name)
                own[each.name] = array[list(images)] if len(array) > 1 else array
            elif listed and len(value) == count > 1:
                targets = [value[k] for k in images]
                own[each.name] = targets if len(targets) > 1 else targets[0]
        return replace(self, **own) if own else self  # type: ignore[type-var]

    def arrays_of_images(self, net: Network) -> Sequence[str]:
        """The fields whose arrays have an entry for each image on their first axis."""
        return ()

    @property
    def natural_batch(self) -> int:
        """How many images it describes: the length of its index list or target batch."""
        return 1

    def weighted(self) -> list[tuple[float, Leaf]]:
        """Itself, with weight 1."""
        return [(1.0, self)]

    def to_dict(self) -> dict[str, Any]:
        """The name of its class and its fields."""
        found: dict[str, Any] = {"type": type(self).__name__}
        for each in fields(self):  # type: ignore[arg-type]  # a leaf is a dataclass
            value = getattr(self, each.name)
            of_array = "array" in each.metadata and value is not None
            found[each.name] = fingerprint(value) if of_array else _plain(value)
        return found


@dataclass(frozen=True, eq=False)
class Combination(Objective):
    """A weighted sum of objectives, as ``2 * a - b`` makes it.

    ``maximize`` is None where its terms disagree; `maximize` and `minimize` settle it.
    """

    terms: tuple[tuple[float, Objective], ...]
    maximize: bool | None = True

    def __post_init__(self) -> None:
        wanted = "pairs of a weight and an objective, one at least"
        terms = [
            checks.entries(each, "a term", wanted) for each in checks.entries(self.terms, "terms", wanted)
        ]
        if not terms or not all(len(each) == 2 and isinstance(each[1], Objective) for each in terms):
            checks.refuse(self.terms, "terms", wanted)
        weighted = tuple((checks.single(w, "the weight of an objective"), of) for w, of in terms)
        object.__setattr__(self, "terms", weighted)
        if self.maximize is not None:
            object.__setattr__(self, "maximize", checks.flag(self.maximize, "maximize"))

    def __mul__(self, weight: float) -> Combination:
        factor = checks.single(weight, "the weight of an objective")
        return replace(self, terms=tuple((factor * w, of) for w, of in self.terms))

    __rmul__ = __mul__

    def for_images(self, images: Sequence[int], net: Network | None = None) -> Combination:
        """The same with the targets of some images of its batch alone."""
        return replace(self, terms=tuple((w, inner.for_images(images, net)) for w, inner in self.terms))

    def named_in(self, net: Network) -> Combination:
        """The same with its layers by their names in the file."""
        return replace(self, terms=tuple((w, inner.named_in(net)) for w, inner in self.terms))

    def at(self, image: Any) -> Combination:
        """The same, with what its terms look up in an image looked up in this one."""
        return replace(self, terms=tuple((w, inner.at(image)) for w, inner in self.terms))

    def weighted(self) -> list[tuple[float, Leaf]]:
        """The elementary objectives of all terms, with their weights multiplied out."""
        return [(w * v, leaf) for w, inner in self.terms for v, leaf in inner.weighted()]

    def to_dict(self) -> dict[str, Any]:
        """Its terms and its sense."""
        terms = [{"weight": w, "objective": leaf.to_dict()} for w, leaf in self.weighted()]
        return {"type": "Combination", "terms": terms, "maximize": self.maximize}

    def __str__(self) -> str:
        return " + ".join(f"{w:g} * ({leaf})" for w, leaf in self.weighted()).replace("+ -", "- ")


def maximize(objective: Objective) -> Combination:
    """The same value, to be maximised: settles the sense of a mixed sum."""
    return Combination(((1.0, objective),), maximize=True)


def minimize(objective: Objective) -> Combination:
    """The same value, to be minimised: settles the sense of a mixed sum."""
    return Combination(((1.0, objective),), maximize=False)


def natural_batch(objective: Objective) -> int:
    """How many images an objective describes: the longest of its lists of targets."""
    if not isinstance(objective, Objective):
        checks.refuse(objective, "objective", "one such as sf.Class(121)")
    return max(leaf.natural_batch for leaf in objective.leaves())


def repeated(values: np.ndarray, batch: int, what: str) -> np.ndarray:
    """One entry for all images, or one for each."""
    if len(values) not in (1, batch):
        fits = "1" if batch == 1 else f"1 or {batch}"
        raise InputError(f"{len(values)} entries of {what} were given for a batch of {batch}; give {fits}")
    check_fits(batch * values.nbytes, f"{what} of a batch of {batch}", "use a smaller batch")
    return np.repeat(values, batch, axis=0) if len(values) == 1 else np.ascontiguousarray(values)


def plain_index(index: Any, name: str, *, names: bool = False, levels: int = 1) -> Any:
    """An index, or several, as whole numbers of Python; arrays of any library become lists.

    Raises
    ------
    InputError
        It is neither a whole number nor, in so many levels, a list, tuple or range of such; with `names`,
        texts will do as well.
    """
    wanted = "a name or an integer, or a list of them" if names else "an integer or a list of integers"
    if library(index) is not None:
        if math.prod(shape_of(index)) > _MOST_INDICES:
            checks.refuse(index, name, wanted)
        index = to_host(borrow_numbers(index, name)).tolist()
    index = checks.plain(index)
    if checks.is_integer(index) and abs(index) < 2**63:
        return int(index)
    if names and isinstance(index, str):
        return index
    if not isinstance(index, list | tuple | range) or not levels or index[_MOST_INDICES:]:
        checks.refuse(index, name, wanted)
    if isinstance(index, range):
        return index
    return type(index)(plain_index(each, name, names=names, levels=levels - 1) for each in index)


def as_array(value: Any, what: str) -> np.ndarray:
    """An array of any library as one of float32 of NumPy; InputError unless its numbers are finite."""
    given = to_host(borrow_numbers(value, f"a {what}"))
    check_fits(4 * given.size, f"a {what} of {given.size} numbers", "it is one of the network's own size")
    with np.errstate(over="ignore"):  # what is beyond single precision is refused
        array = given.astype(np.float32)
    if not array.ndim or not array.size or not np.isfinite(array).all():
        raise InputError(f"a {what} must be an array of finite numbers")
    return array


def joined(value: Any) -> str:
    """An index or several as text; of many the first."""
    plain = _plain(value)
    if not isinstance(plain, list):
        return str(plain)
    more = f" and {len(plain) - _FEW} more" if len(plain) > _FEW + 1 else ""
    return ", ".join(map(str, plain[:_FEW] if more else plain)) + more


def _plain(value: Any) -> Any:
    """NumPy scalars and sequences as JSON knows them."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(v) for v in value]
