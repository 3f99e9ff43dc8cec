"""Total variation of images: its value, its proximal map, and the gradient of its smoothed form.

TV(u) = sum over pixels of |grad u|, with forward differences and zero flux across the border (`differences`).
|.| is the length of the vector of both differences (isotropic, after Rudin, Osher and Fatemi) or the sum of
their absolute values (anisotropic). Where channels are coupled, it takes the differences of all channels of
a pixel together (vectorial TV), so that the edges of the colours coincide; otherwise each channel is an image
of its own. Huber's variant is quadratic for differences below epsilon, which avoids staircases.

`prox` denoises with a given weight, `constrained` with a given distance from the image, and both say how
far their result can be from the minimum.

`functional`    the value, and the gradient of the smoothed form
`rof`           `prox`: the model of Rudin, Osher and Fatemi
`ball`          `constrained`: the least total variation within a distance
`generalised`   `prox_tgv`: total generalised variation of second order
`differences`   gradient, divergence and strain of images, with their adjoints
`model`         what is solved for one image, and with which steps
`solution`      what a solver gives back, and what it can be started from
`host`          images on the host, by compiled kernels
`cuda`          images on a CUDA device
`reference`     the same by NumPy
`arguments`     checks
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
