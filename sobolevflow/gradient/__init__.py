"""From a network and an objective to value and gradient at an image.

`model`           the gradient as an ordinary ONNX model
`file_signature`  what that model takes and gives, and the class names in it
`interface`       what a descent asks of a gradient, and what a plain function lacks
`engine`          one run of that model, on buffers that are bound once
`buffers`         what the runs of one thread read and write, and how it is bound
`function`        the plain function of an image, for everybody else
`check`           the gradient held against differences in double precision
`trial`           a gradient on this machine, as the doctor tries it
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
