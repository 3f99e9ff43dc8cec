"""Pictures that people look at, and the files that hold them.

`pixels`          arrays of 8 bits: rounded, made fit to look at, tiled
`reading`         pictures out of files
`writing`         pictures and arrays into files, whole or not at all
`contact_sheets`  pictures in rows and columns, with labels
`heatmaps`        attributions as colours, alone or over the photograph
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
