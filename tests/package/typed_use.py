"""How a program that is type-checked uses the package: `make lint` holds the types, here and of the wheel.

It is never run. A comment that lets an error pass is itself an error where there is none.
"""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import sobolevflow as sf

_ = sf.Clas  # type: ignore[attr-defined]
_ = sf.filters.Gausian  # type: ignore[attr-defined]
_ = sf.attribution.saliencies  # type: ignore[attr-defined]

photo: NDArray[np.float32] = np.zeros((1, 3, 8, 8), np.float32)
net = sf.load("model.onnx")
assert_type(net, sf.Network)
result = sf.visualize(net, sf.Class("king crab"), steps=3)
assert_type(result, sf.Result)
sf.visualize(net, sf.Class(1), stesp=3)  # type: ignore[call-arg]
sf.load("model.onnx", preproces="torch")  # type: ignore[call-arg]

value, gradient = sf.value_and_grad(net, 2 * sf.Channel("conv1", 3) - sf.Class(1))(photo)
assert_type(value, NDArray[np.float64])
assert_type(gradient, NDArray[np.float32])
smooth = sf.filters.Sobolev(gamma=4)
assert_type(smooth(photo), NDArray[np.float32])
assert_type(sf.schemes.fluid(smooth), sf.schemes.Scheme)
assert_type(net.scores(photo), NDArray[np.float32])
assert_type(net.features(photo, ["conv1"]), list[NDArray[np.float32]])
assert_type(net.top(photo, 5), NDArray[np.int64])

double = photo.astype(np.float64)
saliency_map = sf.attribution.saliency(net, sf.Class(1), double, filter=smooth)
assert_type(saliency_map, NDArray[np.float32])
assert_type(sf.attribution.smooth_grad(net, sf.Class(1), double), NDArray[np.float32])
assert_type(sf.attribution.integrated_gradients(net, sf.Class(1), double), NDArray[np.float32])
assert_type(sf.attribution.grad_cam(net, sf.Class(1), double, "conv1"), NDArray[np.float32])
assert_type(sf.attribution.completeness_error(net, sf.Class(1), photo, saliency_map), NDArray[np.float64])
assert_type(sf.heatmap(saliency_map, photo), NDArray[np.uint8])
assert_type(sf.to_original(saliency_map, (80, 60)), NDArray[np.float32])
assert_type(sf.metrics.psnr(photo, photo), NDArray[np.float64])
assert_type(sf.metrics.ssim(photo, photo), NDArray[np.float64])
assert_type(sf.metrics.in_top(net, photo, "king crab"), NDArray[np.bool_])
assert_type(sf.metrics.probability(net, photo, 1), NDArray[np.float64])
assert_type(sf.metrics.spectrum_slope(photo), NDArray[np.float64])
assert_type(sf.metrics.plausibility(net, "conv1", photo, photo), NDArray[np.float64])


class Tensor:
    """An array of another library."""

    def __dlpack__(self) -> Any:
        """The memory."""


tensor = Tensor()
assert_type(net.scores(tensor), Tensor)
assert_type(sf.attribution.grad_cam(net, sf.Class(1), tensor), Tensor)
assert_type(sf.metrics.psnr(tensor, photo), Tensor)
assert_type(sf.heatmap(tensor), Tensor)
