"""What the room offers to others, each name declared once."""

from .base import (
    Composition as Composition,
    Map as Map,
    Operator as Operator,
    ProximalMap as ProximalMap,
    StepState as StepState,
    apply as apply,
    check_maps as check_maps,
)
from .bilateral import Bilateral as Bilateral
from .multiscale import Multiscale as Multiscale
from .natural_colour import NaturalColour as NaturalColour
from .perona_malik import PeronaMalik as PeronaMalik
