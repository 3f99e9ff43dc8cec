"""Maps of an image that stand where a filter can: what they are, and those that are not linear filters.

`base`            what an operator and a proximal map are; any function as one, and several after one another
`bilateral`       the bilateral filter
`perona_malik`    nonlinear diffusion that keeps edges
`multiscale`      the bands of a Laplacian pyramid, brought to equal size
`natural_colour`  the covariance that colours have in photographs
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
