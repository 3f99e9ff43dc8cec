"""Show what a convolutional network has learned, from its ONNX file alone.

The names that `__init__.pyi` lists are loaded on first use, so that ``import sobolevflow`` stays cheap:
numba, onnx and onnxruntime are imported by the first call that needs them. The rooms, from the ground up;
each imports only from those below it, and what it offers to others stands in its own ``__init__``:

`asides`           what decoders in C say by themselves, for who listens
`text`             text of others, made fit to be printed
`errors`           every error that is raised on purpose
`checks`           checks of arguments, each worded once
`files`            what is opened, and what is written where
`capacity`         what fits into the memory of the machine
`named`            what can be asked for by a name: operators, optimizers, objectives
`arrays`           arrays of any library: whose they are, where they lie, the image planes in them
`onnxgrad`         the gradient of an ONNX graph, as an ONNX graph
`models`           two bundled networks, and exporters of others
`kernels`          compiled loops for the CPU and for NVIDIA GPUs
`devices`          where a network is computed: sessions, memory, failures
`pictures`         image files, contact sheets, heat maps
`optimizers`       what becomes of a gradient before K_f: descent, momentum, Adam
`filters`          linear smoothing: Sobolev, Gaussian, their algebra
`total_variation`  total variation: its value, its proximal map, and how far that is from the minimum
`transforms`       what the network is shown: jitter, crops, turns, each with its adjoint
`network`          an ONNX file as a network: its image, layers, classes, features
`results`          what a descent returns: images, history, manifest, page
`maps`             maps of an image beside filters: bilateral, diffusion, natural colours
`objectives`       what to maximise or to match
`proximal`         what can stand in the place of K_e, and how it combines
`gradient`         u -> (value, gradient), as a model, as a function, and checked
`schemes`          equation (18), and its special cases
`attribution`      which pixels of a photograph a score comes from
`metrics`          how good a picture is
`descent`          the loop: `visualize` and `invert`
`experiments`      the paper's figures and table, on any networks
`cli`              the command
"""

import sys

try:
    import lazy_loader

    __getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
except KeyboardInterrupt:  # of the command, which imports this before its own first line
    command = getattr(sys, "argv", [""])[0].removesuffix(".exe")
    if not (command == "-m" or command.endswith("sobolevflow")):
        raise
    print("sobolevflow: interrupted", file=sys.stderr)
    sys.exit(130)
