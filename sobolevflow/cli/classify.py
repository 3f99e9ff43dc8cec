"""``sobolevflow classify``: what a network takes photographs for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .given import MODEL, PICTURES, each_by_itself, load, of_strangers, photograph
from .options import Argument, Given, Group, command, keywords
from .printing import FAILED, JSON, OK, print_json, print_table, readable, say_notes, tell
from .types import COUNT, FILE, Kind

if TYPE_CHECKING:
    from ..network import Network, Prediction

_LONGEST = 60  # characters of a name in a table

_TOP = Argument("--top", "how many classes (default: 5)", COUNT)
_OF_THE_JUDGE = (
    Argument("--judge-preprocess", "as --preprocess", Kind("NAME|FILE|JSON"), keyword="preprocess"),
    Argument("--judge-labels", "as --labels (default: the same, where they fit)", FILE, keyword="labels"),
)
_JUDGE = Argument("--judge", "another network, which says what it takes them for", FILE)


@command(
    "classify",
    "say what a network takes photographs for, and which pre-processing it wants",
    "sobolevflow classify model.onnx photo.jpg --preprocess torch --labels classes.txt",
    (
        *MODEL,
        Argument("photo", "image files", words="+"),
        _TOP,
        Group("judge", (_JUDGE, *_OF_THE_JUDGE)),
        PICTURES,
        *(Argument("--quiet", "no notes", flag=True), JSON),
    ),
    "Where no pre-processing is recorded or given, the network is asked under each that is usual, and the "
    "likeliest is proposed: the more photographs, the surer.",
)
def classify(given: Given) -> int:
    """Print the best classes of each photograph, as each network has them."""
    nets = [load(given)]
    nets += _judge(given, nets[0])
    failed: dict[str, str] = {}
    seen = {photo: _seen_by(nets, photo, given, failed) for photo in given["photo"]}
    photos = tuple(photo for photo in seen if photo not in failed)
    found = [
        replace(net.predict([seen[photo][k] for photo in photos], **keywords(given, (_TOP,))), photos=photos)
        for k, net in enumerate(nets if photos else [])
    ]
    if "json" in given:
        print_json({"networks": [each.to_dict() for each in found], "failed": failed})
    else:
        _print(found)
    if "quiet" not in given:
        say_notes(note for net in nets for note in net.notes())
    return FAILED if failed else OK


def _judge(given: Given, net: Network) -> list[Network]:
    """The other network, if there is one; its classes are called as the first one's unless named."""
    from ..files import keep
    from ..network import load as open_network

    if "judge" not in given:
        missing = next((option.long for option in _OF_THE_JUDGE if option.key in given), None)
        if missing is not None:
            raise InputError(f"{missing} is of another network, which --judge MODEL names")
        return []
    judge = open_network(given["judge"], **keywords(given, _OF_THE_JUDGE), **of_strangers(given))
    keep(judge.files)
    if judge.labels is None and net.labels is not None and judge.could_be_named(net.labels):
        judge.name_classes(net.labels)
    return [judge]


def _seen_by(nets: Sequence[Network], photo: str, given: Given, failed: dict[str, str]) -> list[Any]:
    """A photograph as each network takes it; one that cannot be read is entered among what failed."""
    from ..pictures import fitted

    with each_by_itself(photo, given["photo"], failed):
        return [
            fitted(photograph(net, given, photo, "net.predict"), net.input_shape[1:])[None] for net in nets
        ]
    return []


def _print(found: Sequence[Prediction]) -> None:
    """A table for each photograph, then what is to be known of pre-processing."""
    heads = [text for each in found for text in ("", readable(each.network, _LONGEST))]
    for k, photo in enumerate(found[0].photos if found else ()):
        tell(photo)
        sides = zip_longest(*(each.rows(k) for each in found), fillvalue=("", ""))
        print_table(heads, [[readable(cell, _LONGEST) for side in row for cell in side] for row in sides])
    for each in found:
        if each.advice is not None:
            tell(f"{each.network}: {each.advice}")
            print_table(("preprocess", "support", "takes them for"), each.tried_rows())
