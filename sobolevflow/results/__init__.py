"""What a descent returns: images, history, manifest, and the page that shows them.

`result`     the images, how they came about, and what they are written to
`history`    the measurements, step by step
`stopping`   how it ended, in words
`manifest`   everything that is needed to explain a picture, and to make it again
`saved`      a run as it was saved, with the files beside its manifest
`comparison` that beside the run made again
`page`       a self-contained HTML page
`curve`      a measurement over the steps, drawn as SVG
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
