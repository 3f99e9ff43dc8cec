"""Damage to training pictures, so that a network relies on shape and not on incidental detail.

Gradient ascent finds whatever a network relies on. One that has seen colours permuted, fine
detail blurred and parts erased has less use for the high frequencies that spoil pre-images.
Each function takes float32 (N, 3, H, W) and returns a tensor like it; the draws that need not differ
within a batch are made once for it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _uniform(shape: tuple[int, ...], low: float, high: float, rng: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=rng)


def _chance(rng: torch.Generator) -> float:
    return float(torch.rand((), generator=rng))


def shift(x: Tensor, rng: torch.Generator, reach: int = 6) -> Tensor:
    """Move by up to `reach` pixels, mirrored at the border."""
    top, left = torch.randint(0, 2 * reach + 1, (2,), generator=rng).tolist()
    h, w = x.shape[2:]
    return F.pad(x, [reach] * 4, mode="reflect")[:, :, top : top + h, left : left + w]


def permute_colours(x: Tensor, rng: torch.Generator) -> Tensor:
    """Permute the channels of the batch and invert half of its pictures."""
    x = x[:, torch.randperm(3, generator=rng)]
    inverted = torch.rand((len(x), 1, 1, 1), generator=rng) < 0.5
    return torch.where(inverted, 1 - x, x)


def relight(x: Tensor, rng: torch.Generator) -> Tensor:
    """Change contrast and brightness per picture and channel."""
    contrast = _uniform((len(x), 1, 1, 1), 0.6, 1.2, rng)
    brightness = _uniform((len(x), 3, 1, 1), -0.12, 0.12, rng)
    return (x - 0.5) * contrast + 0.5 + brightness


def cloud(x: Tensor, rng: torch.Generator) -> Tensor:
    """Add smooth coloured noise: a random 7x7 grid, enlarged."""
    coarse = torch.randn((len(x), 3, 7, 7), generator=rng) * _uniform((len(x), 1, 1, 1), 0, 0.12, rng)
    return x + F.interpolate(coarse, size=x.shape[2:], mode="bilinear", align_corners=False)


def blur(x: Tensor, rng: torch.Generator) -> Tensor:
    """Cut off the high frequencies of a third of the batches: by a binomial filter or by resizing."""
    chance = _chance(rng)
    if chance < 0.17:
        return F.avg_pool2d(F.pad(x, [1] * 4, mode="reflect"), 3, stride=1)
    if chance < 0.33:
        scale = float(_uniform((), 0.4, 0.8, rng))
        small = F.interpolate(x, scale_factor=scale, mode="bilinear", antialias=True)
        return F.interpolate(small, size=x.shape[2:], mode="bilinear")
    return x


def erase(x: Tensor, rng: torch.Generator) -> Tensor:
    """Paint one rectangle per picture, of up to two fifths of the edge, in a random colour."""
    n, _, h, w = x.shape
    centre = torch.rand((2, n, 1, 1), generator=rng)
    half = _uniform((2, n, 1, 1), 0, 0.2, rng)
    rows, columns = torch.linspace(0, 1, h)[None, :, None], torch.linspace(0, 1, w)[None, None, :]
    inside = ((rows - centre[0]).abs() < half[0]) & ((columns - centre[1]).abs() < half[1])
    return torch.where(inside[:, None], torch.rand((n, 3, 1, 1), generator=rng), x)


def noise(x: Tensor, rng: torch.Generator) -> Tensor:
    """Add white noise of a standard deviation up to 0.1, drawn per picture."""
    return x + torch.randn(x.shape, generator=rng) * _uniform((len(x), 1, 1, 1), 0, 0.1, rng)


def augment(x: Tensor, rng: torch.Generator) -> Tensor:
    """All of the above in a row; the result is back in [0, 1]."""
    for damage in (shift, permute_colours, relight, cloud, blur, erase, noise):
        x = damage(x, rng)
    return x.clamp(0, 1)
