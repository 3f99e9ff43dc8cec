"""What the room offers to others, each name declared once."""

from .distributions import (
    frechet as frechet,
    frechet_distance as frechet_distance,
    neighbour_distance as neighbour_distance,
    plausibility as plausibility,
    pooled_features as pooled_features,
)
from .fidelity import psnr as psnr, relative_feature_error as relative_feature_error, ssim as ssim
from .perturbation import Robustness as Robustness, robustness as robustness
from .recognition import (
    agreement as agreement,
    in_top as in_top,
    probability as probability,
    proportion_interval as proportion_interval,
)
from .spectrum import (
    Spectrum as Spectrum,
    high_frequency_share as high_frequency_share,
    power_spectrum as power_spectrum,
    spectrum_slope as spectrum_slope,
)

__all__: list[str]
