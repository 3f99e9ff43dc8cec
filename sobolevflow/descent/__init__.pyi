"""What the room offers to others, each name declared once."""

from .defaults import natural_recipe as natural_recipe
from .descent import descend as descend, invert as invert, visualize as visualize
from .parametrization import Fourier as Fourier, Phase as Phase
from .plan import Octave as Octave
from .progress import progress_bar as progress_bar
from .settings import (
    GREY_LEVEL as GREY_LEVEL,
    Normalisation as Normalisation,
    Schedule as Schedule,
    Settings as Settings,
)
