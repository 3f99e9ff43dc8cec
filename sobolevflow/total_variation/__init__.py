"""Total variation of images: its value, its proximal map, and the gradient of its smoothed form.

TV(u) = sum over pixels of |grad u|, with forward differences and zero flux across the border
(`sobolevflow.differences`). |.| is the length of the vector of both differences (isotropic, after Rudin,
Osher and Fatemi) or the sum of their absolute values (anisotropic). Where channels are coupled, it takes
the differences of all channels of a pixel together (vectorial TV), so that the edges of the colours
coincide; otherwise each channel is an image of its own. Huber's variant is quadratic for
differences below epsilon, which avoids staircases.

`prox` denoises with a given weight, `constrained` with a given distance from the image, and both say how
far their result can be from the minimum.
"""

from .arguments import check_kind
from .constrained import Constrained, constrained
from .generalised import prox_tgv
from .model import Variation
from .prox import Method, prox
from .reference import duality_gap
from .solution import Prox, State
from .value import gradient, value

__all__ = [
    "Constrained",
    "Method",
    "Prox",
    "State",
    "Variation",
    "check_kind",
    "constrained",
    "duality_gap",
    "gradient",
    "prox",
    "prox_tgv",
    "value",
]
