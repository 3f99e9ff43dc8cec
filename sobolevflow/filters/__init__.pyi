"""What the room offers to others, each name declared once."""

from .algebra import (
    Combination as Combination,
    Composition as Composition,
    Filter as Filter,
    Identity as Identity,
    inverse as inverse,
)
from .by_scipy import reference as reference
from .gaussian import Gaussian as Gaussian
from .matching import match as match, noise_gain as noise_gain, variance as variance
from .parameters import Boundary as Boundary
from .plan import Plan as Plan
from .product import SobolevProduct as SobolevProduct
from .serialisation import from_dict as from_dict
from .sobolev import Sobolev as Sobolev
from .spectral import frequencies as frequencies
