"""Linear smoothing filters of image planes, shape (..., H, W).

`Sobolev` and `Gaussian` are the two families of the paper (arXiv:1805.00071), `SobolevProduct` is a
separable relative of the first that is not it, `Identity` is no filter at all; they combine by ``@``,
``+``, ``*`` and ``**``. A filter is planned when it is made, and its coefficients are kept, so that
applying it again in a loop costs only the filtering. `Filter.plan` says how it is done and how exactly;
`reference` does the same by NumPy and SciPy alone.

`algebra`         what every filter can do, and how filters combine
`sobolev`         (Id - gamma Laplacian)^-order
`gaussian`        the other family of the paper
`product`         a Sobolev filter along each axis
`matching`        filters of equal strength from the two families
`convolution`     what filters with a symmetric kernel have in common
`parameters`      the parameters that filters share, with `support`, the rule that fits them to a window
`serialisation`   back from a manifest
`plan`            what `Filter.plan` says, with `bounds` on rounding
`scaling`         values near the ends of the range of a dtype
`host`            the ways to apply a filter on the CPU
`cuda`            the ways on a CUDA device
`by_scipy`        `reference`, by `separable`, `dense` and `spectral`
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
