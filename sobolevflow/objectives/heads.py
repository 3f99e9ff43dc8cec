"""What the outputs of a detector mean: where its boxes lie, and the scores of their classes.

| layout | scores | boxes |
|---|---|---|
| yolov5 | (N, A, 5 + K), behind the box and its objectness, which they are multiplied by | in it, cxcywh |
| yolov8 | (N, 4 + K, A), behind the box | in it, cxcywh |
| ssd | (N, A, K), the background first where there is one score more than labels | (N, A, 4), xyxy |
| detr | (N, A, K + 1), no object last; or (N, A, K) | (N, A, 4), cxcywh, behind a sigmoid |

Either order of the axes will do for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ..errors import InputError
from ..onnxgrad import operator_of

if TYPE_CHECKING:
    from ..network import Network

Layout = Literal["yolov5", "yolov8", "ssd", "detr"]
Form = Literal["cxcywh", "xyxy", "yxyx", "grid"]

LAYOUTS: tuple[Layout, ...] = get_args(Layout)
FORMS: tuple[Form, ...] = get_args(Form)

_BEFORE = {"yolov5": 5, "yolov8": 4, "ssd": 0, "detr": 0}  # entries of a row in front of the classes
_USUAL_CLASSES = 80  # of COCO, which most detectors are trained on; some count up to the largest number, 90
_STRIDES = (8, 16, 32)  # of the grids of a detector without anchors
_RELATIVE = 2.0  # up to which coordinates are relative to the image
_SELECTING = ("NonMaxSuppression", "TopK")


@dataclass(frozen=True)
class Head:
    """Where a detector has its scores and boxes.

    Attributes
    ----------
    layout : {"yolov5", "yolov8", "ssd", "detr"}
    scores : str
        The layer that holds the scores, before a softmax or sigmoid that is all of an output.
    boxes : str or None
        That of the boxes; None where there is none.
    anchors, width : int
        How many boxes there are, and how many entries a row has.
    axis : int
        That of the classes in `scores`.
    softmax : bool
        Whether scores are told apart by their softmax, which is not in them.
    form : {"cxcywh", "xyxy", "yxyx"}
        What a box is written as.
    """

    layout: Layout
    scores: str
    boxes: str | None
    anchors: int
    width: int
    axis: int
    softmax: bool
    form: Form

    @property
    def first(self) -> int:
        """The entry of a row that holds the score of class 0."""
        return _BEFORE[self.layout]

    @property
    def objectness(self) -> int | None:
        """The entry of a row that holds the objectness."""
        return 4 if self.layout == "yolov5" else None

    def indices(self, net: Network, classes: Sequence[int | str]) -> list[int]:
        """The entries of a row that hold the scores of classes."""
        count, labels = self.width - self.first, net.labels
        if self.layout == "ssd":
            known = net.classes_among(count)
        else:  # behind the classes are no object, or what YOLO has for masks, points and angles
            known = net.classes_among(min(count, len(labels or range(count))), background=0)
        return [self.first + known.output_index(each) for each in classes]

    def rows(self, values: np.ndarray) -> np.ndarray:
        """The values of the layer of scores, (N, anchors, width)."""
        return values if self.axis == 2 else np.swapaxes(values, 1, 2)

    def ranking(self, values: np.ndarray, index: int) -> np.ndarray:
        """What boxes are ranked by, (N, anchors), from the values of the layer of scores."""
        rows = self.rows(values).astype(np.float64)
        if self.softmax:
            grown = np.exp(rows - rows.max(axis=2, keepdims=True))
            rows = grown / grown.sum(axis=2, keepdims=True)
        ranking = rows[..., index]
        return ranking if self.objectness is None else ranking * rows[..., self.objectness]

    def corners(self, values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Boxes (N, anchors, 4), as y0, x0, y1, x1 relative to the image, from the values of their layer."""
        rows = values if values.shape[1] == self.anchors else np.swapaxes(values, 1, 2)
        rows = rows[..., :4].astype(np.float64)
        form = self.form
        if form == "cxcywh" and (rows[..., 2:] < 0).any() and _cells(size) == self.anchors:
            form = "grid"  # no width is negative, but its logarithm
        if form == "grid":
            rows = _decoded(rows, size)
        elif np.median(np.abs(rows)) <= _RELATIVE:  # some may lie anywhere
            size = (1, 1)
        if form in ("cxcywh", "grid"):
            centre, half = rows[..., :2], rows[..., 2:] / 2
            rows = np.concatenate([centre - half, centre + half], axis=-1)
        if form != "yxyx":
            rows = rows[..., [1, 0, 3, 2]]
        return np.asarray(rows / (*size, *size))

    def describe(self, net: Network) -> str:
        """What the outputs are taken for, a sentence."""
        shape = net.layer_shape(self.scores)
        held = f"{self.scores!r} of shape {shape}" + (
            "" if self.boxes in (self.scores, None) else f" and boxes {self.boxes!r}"
        )
        with_objectness = ", objectness" * (self.objectness is not None)
        return (
            f"{held} is read as {self.layout}: {self.anchors} boxes{with_objectness}, "
            f"{self.width - self.first} scores each"
        )


def _cells(size: tuple[int, int]) -> int:
    """How many cells the grids of a detector without anchors have."""
    return sum((size[0] // stride) * (size[1] // stride) for stride in _STRIDES)


def _decoded(rows: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Centres and sizes in pixels, of offsets in cells of the grids and logarithms of sizes in cells."""
    if rows.shape[1] != _cells(size):
        raise InputError(
            f'form "grid" is that of {_cells(size)} boxes, one for each cell of strides {_STRIDES}, but '
            f"there are {rows.shape[1]}; say anchor= (--anchor) in the place of a box"
        )
    corners, strides = [], []
    for stride in _STRIDES:
        y, x = np.mgrid[: size[0] // stride, : size[1] // stride]
        corners.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((x.size, 1), stride))
    with np.errstate(over="ignore"):  # of a size that no box has
        cells = [rows[..., :2] + np.concatenate(corners), np.exp(rows[..., 2:])]
    return np.asarray(np.concatenate(cells, axis=-1) * np.concatenate(strides))


def head_of(
    net: Network,
    scores: str | None = None,
    boxes: str | None = None,
    layout: Layout | None = None,
    form: Form | None = None,
) -> Head:
    """What the outputs of a detector mean, as their shapes tell and as far as it is not said.

    Raises
    ------
    InputError
        It cannot be told; says what the outputs are.
    """
    asked = [scores] if scores is not None else _pair(net, boxes, layout) or _single(net)
    if len(asked) != 1:
        raise _untold(net)
    name = asked[0]
    shape = net.layer_shape(name)
    if len(shape) != 3:
        raise InputError(
            f"{net.name}: the scores of boxes lie in a layer of three axes, (N, boxes, classes) or turned, "
            f"but {name!r} is of shape {shape}. A unit of a raw head is asked for by its index: "
            f"sf.Neuron({name!r}, (...))"
        )
    boxes = boxes if boxes is not None else _boxes_beside(net, name)
    layout = layout or _layout(net, name, boxes)
    in_one = layout in ("yolov5", "yolov8")
    boxes = name if in_one and boxes is None else boxes
    axis = _axis_of_classes(net, shape, layout, boxes if boxes != name else None)
    if shape[axis] <= _BEFORE[layout]:
        raise InputError(
            f"{net.name}: a row of {name!r}, of shape {shape}, has {shape[axis]} entries, but one of "
            f"{layout} has {_BEFORE[layout]} in front of its classes; layout= (--detector) says otherwise"
        )
    if scores is None and in_one:
        _refuse_selected(net, name)
    found = Head(
        layout=layout,
        scores=name,
        boxes=boxes,
        anchors=shape[3 - axis],
        width=shape[axis],
        axis=axis,
        softmax=False,
        form=form or ("xyxy" if layout == "ssd" else "cxcywh"),
    )
    return found if in_one else _without_softmax(net, found)


def _without_softmax(net: Network, head: Head) -> Head:
    """With the scores before a softmax or sigmoid that an output ends in."""
    softmax = head.layout == "detr" and _ends_in_no_object(net, head)
    if head.scores not in net.outputs:
        return replace(head, softmax=softmax)
    classes = net.classes_of(head.scores)
    if classes.stripped is None or net.shapes.get(classes.layer) != net.shapes.get(head.scores):
        return replace(head, softmax=softmax)
    sigmoid = "Sigmoid" in classes.stripped
    return replace(head, scores=classes.layer, softmax=not sigmoid)


def _ends_in_no_object(net: Network, head: Head) -> bool:
    """Whether a row of scores has one more for no object; without labels, unless there are COCO's."""
    if net.labels is not None:
        return len(net.labels) == head.width - 1
    return head.width not in (_USUAL_CLASSES, _USUAL_CLASSES + 11)


def _of_three_axes(net: Network) -> dict[str, tuple[int, ...]]:
    """The outputs of rows of floating point numbers."""
    types = net.places.types
    shapes = {
        name: net.shapes.get(name) or () for name in net.outputs if name in types and types[name].is_float
    }
    return {name: shape for name, shape in shapes.items() if len(shape) == 3}


def _pair(net: Network, boxes: str | None, layout: Layout | None) -> list[str]:
    """The output of scores that has another of boxes beside it."""
    if layout in ("yolov5", "yolov8"):
        return []
    found = _of_three_axes(net)
    pairs = [name for name in found if _boxes_beside(net, name) is not None and 4 not in found[name][1:]]
    if boxes is not None:
        sizes = set(_shape_of_boxes(net, boxes)[1:])
        pairs = pairs or [name for name in found if name != boxes and sizes & set(found[name][1:])]
    if layout is not None and not pairs:
        pairs = [name for name in found if 4 not in found[name][1:]]
    count = 0 if net.labels is None else len(net.labels)
    return [name for name in pairs if {count, count + 1} & set(found[name][1:])] or pairs


def _shape_of_boxes(net: Network, boxes: str) -> tuple[int, ...]:
    """That of a layer of boxes, which need no gradient."""
    shape = net.shapes[net.layer_name(boxes)] or ()
    if len(shape) != 3 or 4 not in shape[1:]:
        raise InputError(f"{net.name}: boxes lie in a layer (N, boxes, 4); {boxes!r} is of shape {shape}")
    return shape


def _boxes_beside(net: Network, scores: str) -> str | None:
    """The output of as many boxes as there are rows of scores."""
    shape = net.layer_shape(scores)
    for name, other in _of_three_axes(net).items():
        rows = [other[3 - k] for k in (1, 2) if other[k] == 4]
        if name != scores and rows and rows[0] in shape[1:]:
            return name
    return None


def _single(net: Network) -> list[str]:
    """The outputs of which each may hold boxes and scores."""
    return [name for name, shape in _of_three_axes(net).items() if min(shape[1:]) > 4]


def _layout(net: Network, scores: str, boxes: str | None) -> Layout:
    if boxes is not None and boxes != scores:
        ends = net.classes_of(boxes).stripped if boxes in net.outputs else None
        return "detr" if ends is not None and "Sigmoid" in ends else "ssd"
    shape = net.layer_shape(scores)
    known = _USUAL_CLASSES if net.labels is None else len(net.labels)
    if known + 5 in shape[1:]:
        return "yolov5"
    if known + 4 in shape[1:]:
        return "yolov8"
    if known in shape[1:]:
        return "ssd"
    return "yolov5" if shape[2] < shape[1] else "yolov8"


def _axis_of_classes(net: Network, shape: tuple[int, ...], layout: Layout, boxes: str | None) -> int:
    """The axis of a row: that which is not the boxes'; of one tensor the shorter, unless labels tell."""
    if boxes is not None:
        other = _shape_of_boxes(net, boxes)
        count = other[2] if other[1] == 4 and other[2] != 4 else other[1]
        fitting = [k for k in (2, 1) if shape[3 - k] == count]
        if fitting:
            return fitting[0]
        raise InputError(
            f"{net.name}: boxes {boxes!r} of shape {other} do not belong to scores of shape {shape}; say "
            "boxes= (--boxes-layer)"
        )
    width = None if net.labels is None else len(net.labels) + _BEFORE[layout]
    fitting = [k for k in (2, 1) if shape[k] == width]
    return fitting[0] if len(fitting) == 1 else (1 if shape[1] < shape[2] else 2)


def _refuse_selected(net: Network, name: str) -> None:
    """InputError where an output holds boxes that were selected already, as its graph ends."""
    if net.layer_shape(name)[-1] in (6, 7) and _selecting(net):
        raise _untold(net)


def _selecting(net: Network) -> list[Any]:
    """The nodes that select boxes."""
    return [node for node in net.model.graph.node if operator_of(node) in _SELECTING]


def _untold(net: Network) -> InputError:
    shapes = [f"{name!r} of shape {net.shapes.get(name) or 'unknown'}" for name in net.outputs]
    named = "scores=, boxes=, layout= (--scores-layer, --boxes-layer, --detector)"
    listed = (
        f"{net.name}: which of its outputs hold the boxes of a detector, and which their scores, cannot be "
        f"told: {', '.join(shapes)}"
    )
    selecting = _selecting(net)
    for node in selecting:
        if operator_of(node) == "NonMaxSuppression":
            return InputError(
                f"{listed}. Its graph selects boxes by a NonMaxSuppression, which no gradient passes; ask "
                f"before it: scores={node.input[1]!r}, boxes={node.input[0]!r}, layout='ssd' (--scores-layer "
                f"{node.input[1]} --boxes-layer {node.input[0]} --detector ssd)"
            )
    if selecting:
        return InputError(
            f"{listed}. Its graph selects boxes by a {operator_of(selecting[0])} of "
            f"{selecting[0].input[0]!r}; ask for layers before it: {named}"
        )
    maps = [name for name in net.outputs if len(net.shapes.get(name) or ()) == 4]
    region = f". A channel of a map is asked for by sf.Region({maps[0]!r}, channel)" if maps else ""
    return InputError(f"{listed}. Name them: {named}{region}")
