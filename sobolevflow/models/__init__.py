"""Networks: two that come with the package, and what makes or fetches others.

``sobolevflow.load("builtin:shapes-vgg")`` opens one that is bundled. They recognise the pictures that
`sobolevflow.models.shapes` draws; the README next to this file says how they were trained.

`bundled`        those that come with the package
`shapes`         the pictures that they recognise
`augment`        what varies these pictures for training
`architectures`  their layers
`train`          their training
`onnx_file`      a network of PyTorch's as a file, with what its metadata says
`modules`        modules of PyTorch and Keras in memory, as models
`export`         networks of other libraries as files
`zoo`            files of well-known networks, fetched
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
