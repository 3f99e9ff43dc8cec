"""Where a network is computed: a device, its memory, its sessions, its failures.

`device`        which device is meant, and how it is to compute
`memory`        where arrays lie, and how values get there and back
`replay`        what is queued again and again, captured as a CUDA graph
`sessions`      sessions of onnxruntime on the device that was asked for, or an error that says why not
`kept`          the sessions of a network that were used last, within a bound on their memory
`installation`  what is installed on this machine, and what is wrong with it
`failures`      what an error of onnxruntime or CUDA means
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
