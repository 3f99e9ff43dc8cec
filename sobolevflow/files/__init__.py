"""Files of strangers, and files of results: what is opened, and what is written where.

`inputs`       regular files alone, asked about before they are opened
`outputs`      into regular files, whole or not at all, and never into what the run reads
`numpy_files`  arrays in .npy and .npz that hold as much as they promise
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
