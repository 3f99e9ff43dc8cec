"""Which layers are maps of positions, and on which axis they keep their channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .network import Network


def feature_maps(net: Network) -> dict[str, int]:
    """Layers with channels and positions, (N, C, H, W) or (N, H, W, C), and the axis of their channels.

    Parameters
    ----------
    net : Network

    Returns
    -------
    dict
        From layer names, in the file's order, to 1 or 3. A layer that is 1 pixel high or wide has no
        positions, one that no gradient reaches is left out, and so are the tokens (N, T, D) and the
        attention weights (N, heads, T, T) of a transformer.
    """
    found = ((info.name, net.layouts.get(info.name)) for info in net.layers if info.differentiable)
    return {name: layout.channel_axes[0] for name, layout in found if layout is not None and layout.is_map}
