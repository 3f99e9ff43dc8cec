"""Pictures that people look at, and the files that hold them.

`pixels`          arrays of 8 bits: rounded, made fit to look at, tiled
`reading`         pictures out of files, in [0, 1]
`ranges`          which numbers of a file are black and white
`colour`          colour profiles: pictures as sRGB
`decoding`        from a path to the numbers in the file; what goes wrong with files
`raster`          the numbers in a file, and what it says of them
`by_pillow`       all formats but TIFF and NumPy's
`by_numpy`        arrays in .npy and .npz
`tiff`            any type of number, any number of planes, stacks of pages
`sixteen_bits`    colour pictures of 16 bits
`writing`         pictures and arrays into files, whole or not at all
`contact_sheets`  pictures in rows and columns, with labels
`fitting`         pictures at the size that a network takes, and maps back on the picture
`colour_maps`     from numbers in [0, 1] to colours
`heatmaps`        attributions as colours, alone or over the photograph
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
