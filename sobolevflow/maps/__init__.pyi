"""What the room offers to others, each name declared once."""

from .base import (
    ChannelMap as ChannelMap,
    Composition as Composition,
    Described as Described,
    Map as Map,
    Operator as Operator,
    PictureMap as PictureMap,
    ProximalMap as ProximalMap,
    Several as Several,
    StepState as StepState,
    apply as apply,
    to_dict as to_dict,
    told as told,
)
from .bilateral import Bilateral as Bilateral
from .multiscale import Multiscale as Multiscale
from .natural_colour import NaturalColour as NaturalColour
from .perona_malik import PeronaMalik as PeronaMalik
