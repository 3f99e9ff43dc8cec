"""From a grey picture to one that an objective likes, step by step: equation (18) in a loop.

`descent`          `visualize` and `invert`
`settings`         the parameters of a descent, checked
`defaults`         what they are where nobody says otherwise
`plan`             octaves and stages: sizes of the canvas, one after the other
`loop`             everything that changes from step to step
`step`             one step, pure: the same on the host and on a GPU
`gradient_scale`   gradients divided by their mean size
`parametrization`  other coordinates than pixels
`several`          a batch shared by several devices, a process each
`autosave`         the picture so far, every ten seconds
`progress`         the progress bar
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
