"""What the room offers to others, each name declared once."""

from .declaration import (
    Normalisation as Normalisation,
    Schedule as Schedule,
    Settled as Settled,
    parameters as parameters,
)
from .declaring import (
    GREY_LEVEL as GREY_LEVEL,
    Parameter as Parameter,
    declares as declares,
    default_of as default_of,
)
from .defaults import natural_recipe as natural_recipe
from .descent import descend as descend, invert as invert, visualize as visualize
from .parametrization import Fourier as Fourier, Phase as Phase
from .plan import Octave as Octave
from .progress import StepInfo as StepInfo, progress_bar as progress_bar
from .rerun import rerun as rerun
from .rescue import DescentError as DescentError
from .settings import Settings as Settings
