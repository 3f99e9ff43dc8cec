"""How good an image is: what others take it for, what it shares with its reference, how natural it is.

Images are arrays (N, C, H, W) or (C, H, W) of floating point numbers, as a rule in [0, 1], of any array
library; every measure is evaluated in float64, and has one entry for each image, as an array of the library
and on the device of the images, unless it compares two sets of images. References may be of another library.

=============================  =====================================================================
`in_top`, `agreement`          whether another network finds the class, or says the same of two images
`probability`                  that another network gives the class: smoother than counting
`proportion_interval`          of such a share, for the number of images it was found on
`psnr`, `ssim`                 likeness of images
`relative_feature_error`       likeness of what a layer makes of them
`spectrum_slope`               how the power falls with the frequency; -2 to -3 in photographs
`high_frequency_share`         power in the upper half of the frequencies
`robustness`                   whether an activation outlasts jitter, blur and noise
`plausibility`, `frechet`      distance from real images in the features of a network
=============================  =====================================================================

A visualization that excites its own network can be anything (Geirhos et al., arXiv:2306.04719): networks and
references that took no part in making an image are what makes these numbers mean something.

`recognition`    what another network takes an image for
`fidelity`       likeness of two images
`spectrum`       their frequencies
`perturbation`   small changes of an image
`distributions`  two sets of images
`arguments`      what the measures take, checked
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
