"""Linear smoothing filters of image planes, shape (..., H, W).

`Sobolev` and `Gaussian` are the two families of the paper (arXiv:1805.00071), `SobolevProduct` is a
separable relative of the first that is not it, `Identity` is no filter at all; they combine by ``@``,
``+``, ``*`` and ``**``. A filter is planned when it is made, and its coefficients are kept, so that
applying it again in a loop costs only the filtering. `Filter.plan` says how it is done and how exactly;
`reference` does the same by NumPy and SciPy alone.
"""

from __future__ import annotations

from .algebra import Combination, Composition, Filter, Identity, inverse
from .gaussian import Gaussian
from .matching import match, noise_gain, variance
from .plan import Plan
from .product import SobolevProduct
from .reference import reference
from .serialisation import from_dict
from .sobolev import Sobolev

__all__ = [
    "Combination",
    "Composition",
    "Filter",
    "Gaussian",
    "Identity",
    "Plan",
    "Sobolev",
    "SobolevProduct",
    "from_dict",
    "inverse",
    "match",
    "noise_gain",
    "reference",
    "variance",
]
