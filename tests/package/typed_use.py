"""How a program that is type-checked uses the package: `make lint` holds the types, here and of the wheel.

It is never run. A comment that lets an error pass is itself an error where there is none.
"""

from __future__ import annotations

from typing import assert_type

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
