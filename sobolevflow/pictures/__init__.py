"""Pictures that people look at, and the files that hold them.

`files`           reading and writing image files and arrays
`contact_sheets`  pictures in rows and columns, with labels
`heatmaps`        attributions as colours, alone or over the photograph
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
