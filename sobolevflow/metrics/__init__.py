"""How good an image is: what others take it for, what it shares with its reference, how natural it is.

Images are arrays (N, C, H, W) or (C, H, W) of floating point numbers, as a rule in [0, 1], of NumPy; every
measure is evaluated in float64 and has one entry for each image, unless it compares two sets of images.

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
"""

from .distributions import (
    frechet,
    frechet_distance,
    neighbour_distance,
    plausibility,
    pooled_features,
)
from .fidelity import psnr, relative_feature_error, ssim
from .recognition import agreement, in_top, probability, proportion_interval
from .robustness import Robustness, robustness
from .spectrum import Spectrum, high_frequency_share, power_spectrum, spectrum_slope

__all__ = [
    "Robustness",
    "Spectrum",
    "agreement",
    "frechet",
    "frechet_distance",
    "high_frequency_share",
    "in_top",
    "neighbour_distance",
    "plausibility",
    "pooled_features",
    "power_spectrum",
    "probability",
    "proportion_interval",
    "psnr",
    "relative_feature_error",
    "robustness",
    "spectrum_slope",
    "ssim",
]
