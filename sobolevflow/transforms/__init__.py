"""What the network is shown of the canvas, each map with its exact adjoint.

`linear`   fixed linear maps of a batch: roll, window, and several after one another
`views`    random ones, drawn for every step: jitter, crop, and the view that they make up with a turn
`warp`     turns and zooms
`resize`   interpolation to another size
`cuda`     a view on a CUDA device, by kernels that gather
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
