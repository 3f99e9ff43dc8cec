"""The score that a detector gives a class: in its best box, in one at a place, or in one by its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks
from ..arrays import shape_of, to_host
from ..errors import InputError
from ..named import Option, index_or_name, named
from .base import ARRAY, Leaf, check_asked, joined, plain_index, repeated
from .boxes import Box, Boxes, as_boxes, at_box, of_all, overlaps, relative, spelled_box
from .channels import in_range
from .heads import FORMS, LAYOUTS, Form, Head, Layout, head_of
from .inversion import number_of_images
from .spelling import Images, spelled

if TYPE_CHECKING:
    from ..network import Network
    from ..onnxgrad import Value
    from .emitter import Emitter

_AS_GOOD = 0.9  # of the largest overlap, from which on a box lies at the place as well


def _detection(
    given: Sequence[tuple[int | str, Box | None]], net: Network, images: Images, **options: Any
) -> Detection:
    which, boxes = of_all(given, "--detection")
    if "image" in options:
        options["image"] = images([options["image"]], "sf.Detection")[0]
    return Detection(which[0] if len(which) == 1 else which, boxes, **options)


@named(
    "objective",
    "detection",
    Option(
        "box_photo",
        "in which the network's box at a place is looked up (default: of attribute, the photo itself)",
        "file",
        keyword="image",
    ),
    Option("anchor", "the network's box by its number, from 0, in the place of one at a place", "natural"),
    Option(
        "detector",
        "what the outputs are (default: by their shapes)",
        "text",
        LAYOUTS,
        keyword="layout",
    ),
    Option("scores_layer", "layer with the scores (default: an output)", "text", keyword="scores"),
    Option("boxes_layer", "layer with the boxes (default: an output)", "text", keyword="boxes"),
    Option("form", "how boxes are written (default: as its layout has them)", "text", FORMS),
    **spelled(
        "NAME|INDEX[@Y0,X0,Y1,X1]",
        "score of a class in a detector's best box, or in its box at a place, as of --region",
        _detection,
        parse=at_box(index_or_name),
        repeat=True,
        commands=("visualize", "gradient", "attribute"),
    ),
)
@dataclass(frozen=True, eq=False)
class Detection(Leaf):
    """Score of a class in a box of a detector, to be maximised: the best box, or that at a place.

    Parameters
    ----------
    which : int, str, or sequence of them
        Index or name of the class; several make a batch of different targets.
    box : (y0, x0, y1, x1), or list of them, optional
        A place in the image that the network sees, as NumPy cuts it out, ``u[..., y0:y1, x0:x1]``: in pixels,
        or relative to the image, where no number is above 2. The network's box there, at `image`, is chosen
        once, and its score followed from then on. Default: the box with the highest score, at every image
        anew.
    image : array, shape (N, C, H, W) or (C, H, W), optional
        Where the box is looked up: float, in [0, 1], of any library. The functions of `sf.attribution` look
        it up in the image that they are given, unless this is.
    anchor : int or sequence of int, optional
        The network's box by its number, from 0, in the place of `box`.
    scores, boxes : str, optional
        The layers that hold them. Default: outputs.
    layout : {"yolov5", "yolov8", "ssd", "detr"}, optional
        What the outputs are: (N, A, 5 + K) with boxes, objectness and classes, the score being a product;
        (N, 4 + K, A) with boxes and classes; classes (N, A, K) beside boxes (N, A, 4); or the same of a
        transformer, with a last class for no object. Default: as the shapes say, see `describe`.
    form : {"cxcywh", "xyxy", "yxyx", "grid"}, optional
        How boxes are written: centre and size, or two corners, relative or in pixels; "grid" are offsets and
        logarithms of sizes in cells of strides 8, 16 and 32, as YOLOX has them. Default: "xyxy" of "ssd", of
        others "cxcywh", or "grid" where sizes are negative.

    Notes
    -----
    The best box is a maximum: its gradient is that of the box which is best now, and it jumps where another
    becomes best. The score is the network's own. Where it is all of an output, a softmax or sigmoid behind it
    is left out, as by `Class`, but boxes are ranked by it. Behind a sigmoid inside, as of YOLO, it is a
    probability, whose gradient vanishes near 0 and 1.

    Of the network's boxes, those count as lying at the place that overlap it, by intersection over union, at
    least 0.9 times as much as the one that does most; the one with the highest score of them is chosen.
    """

    which: int | str | Sequence[int | str]
    box: Boxes = None
    image: Any = field(default=None, metadata=ARRAY)
    anchor: int | Sequence[int] | None = None
    scores: str | None = None
    boxes: str | None = None
    layout: Layout | None = None
    form: Form | None = None

    __repr__ = checks.summary

    at_a_place = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "which", plain_index(self.which, "a class", names=True))
        if self.box is not None:
            object.__setattr__(self, "box", as_boxes(self.box))
        if self.anchor is not None:
            object.__setattr__(self, "anchor", plain_index(self.anchor, "anchor"))
        if self.box is not None and self.anchor is not None:
            raise InputError("a detection is at a box, or in the anchor of a number; leave out one of them")
        if self.box is None and self.image is not None:
            raise InputError("image= (--box-photo) is where a box is looked up; say box=, or leave it out")
        for name, known in (("layout", LAYOUTS), ("form", FORMS)):
            if getattr(self, name) is not None:
                checks.one_of(getattr(self, name), name, known)
        for name in ("scores", "boxes"):
            if getattr(self, name) is not None:
                checks.text(getattr(self, name), name, "the name of a layer")

    def _head(self, net: Network) -> Head:
        """What the outputs of a network are taken for."""
        return head_of(net, self.scores, self.boxes, self.layout, self.form)

    def describe(self, net: Network) -> str:
        """What the outputs of a network are taken for, a sentence.

        Raises
        ------
        InputError
            It cannot be told; says what the outputs are.
        """
        check_asked(net, self)
        return self._head(net).describe(net)

    def at(self, image: Any) -> Detection:
        """The same, its box looked up in this image unless it has one of its own."""
        return replace(self, image=image) if self.awaits_image else self

    @property
    def awaits_image(self) -> bool:  # type: ignore[override]  # of others it is the same for all
        """Whether its box has to be looked up in an image that is not known yet."""
        return self.box is not None and self.image is None

    def tensor(self, net: Network) -> str:
        return self._head(net).scores

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), self._head(net), self._follows_the_best)

    @property
    def _follows_the_best(self) -> bool:
        return self.box is None and self.anchor is None

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        head = self._head(net)
        row = (x.shape[0], 1, head.width) if head.axis == 2 else (x.shape[0], head.width, 1)
        of_class = emit.reshape(emit.one_hot("class", head.width), row)
        score = emit.sum(x * of_class, [head.axis])
        if head.objectness is not None:
            score = score * emit.op("Gather", x, emit.const(head.objectness, np.int64), axis=head.axis)
        if not self._follows_the_best:
            return emit.sum(score * emit.one_hot("anchor", head.anchors), [1])
        if not head.softmax:
            return emit.op("ReduceMax", score, emit.ints([1]), keepdims=0)
        rank = emit.sum(emit.op("Softmax", x, axis=head.axis) * of_class, [head.axis])
        best = emit.op("ArgMax", rank, axis=1, keepdims=0)
        depth = emit.const(head.anchors, np.int64)
        return emit.sum(score * emit.op("OneHot", best, depth, emit.const([0, 1])), [1])

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        head = self._head(net)
        indices = head.indices(net, self._each())
        found = {"class": repeated(np.array(indices, np.int64), batch, "class")}
        if not self._follows_the_best:
            anchors = np.array(self._anchors(net, head, indices), np.int64)
            found["anchor"] = repeated(anchors, batch, "anchors")
        return found

    def _anchors(self, net: Network, head: Head, indices: Sequence[int]) -> list[int]:
        """The numbers of the boxes meant, one for all images or for each."""
        if self.anchor is not None:
            return in_range(self.anchor, head.anchors, f"anchor of {head.scores!r}")
        if self.awaits_image:
            raise InputError(
                f"which of the boxes of {net.name} lies at {self._places()} depends on the image: say "
                "image= (--box-photo), or anchor= (--anchor)"
            )
        if head.boxes is None:
            raise InputError(
                f"{net.name}: no layer with the boxes that belong to {head.scores!r} is known; say boxes= "
                "(--boxes-layer), or anchor= (--anchor)"
            )
        images = to_host(net.check_image(self.image, bounded=False))
        scores, boxes = net.features(images, [head.scores, head.boxes])
        corners = head.corners(boxes, net.input_shape[1:])
        count = self.natural_batch
        places = [relative(box, net.input_shape[1:]) for box in self.box or ()]  # type: ignore[arg-type]
        asked = [_repeated(values, count) for values in (range(len(images)), places, indices)]
        return [
            _chosen(corners[k], head.ranking(scores[k : k + 1], index)[0], box, net)
            for k, box, index in zip(*asked, strict=True)
        ]

    def _each(self) -> list[int | str]:
        several = isinstance(self.which, (list, tuple, range))
        return list(self.which) if several else [self.which]  # type: ignore[arg-type,list-item]

    def notes(self, net: Network) -> list[str]:
        head = self._head(net)
        read = [] if self.layout else [f"{self.describe(net)}; layout= (--detector) reads it otherwise"]
        squashed = net.squashed(head.scores, sorted(set(head.indices(net, self._each()))))
        if squashed:
            read.append(
                f"the scores of {head.scores!r} lie behind a {squashed[0].operator}: a probability "
                "saturates, its gradient vanishes near 0 and 1"
            )
        return read

    def fits(self, layer: str, net: Network) -> bool:
        return False

    def arrays_of_images(self, net: Network) -> Sequence[str]:
        return ("image",) if self.image is not None and len(shape_of(self.image)) == 4 else ()

    @property
    def natural_batch(self) -> int:
        images = 1 if self.image is None else number_of_images(self.image)
        anchors = 1 if self.anchor is None else np.size(self.anchor)
        return max(len(self._each()), len(self.box or ()), anchors, images)

    def _places(self) -> str:
        return " and ".join(map(spelled_box, self.box or ()))

    def __str__(self) -> str:
        where = "the best box" if self.anchor is None else f"anchor {joined(self.anchor)}"
        return (
            f"class {joined(self.which)} in {where if self.box is None else 'the box at ' + self._places()}"
        )


def _repeated(values: Sequence[Any], count: int) -> list[Any]:
    """One entry for each of a batch."""
    if len(values) not in (1, count):
        raise InputError(
            f"{len(values)} of the classes, boxes and images of a detection do not fit {count} of another; "
            "give one, or as many"
        )
    return list(values) * (count if len(values) == 1 else 1)


def _chosen(corners: np.ndarray, ranking: np.ndarray, box: Box, net: Network) -> int:
    """The box with the highest score of those that lie at a place."""
    overlap = overlaps(corners, box)
    if not overlap.max() > 0:
        raise InputError(
            f"no box of {net.name} overlaps {spelled_box(box)} at all, which is (y0, x0, y1, x1) relative to "
            "the image; check its order, and form= (--form), how the network writes its boxes"
        )
    return int(np.argmax(np.where(overlap >= _AS_GOOD * overlap.max(), ranking, -np.inf)))
