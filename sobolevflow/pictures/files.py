"""Pictures in and out of files: float32 (C, H, W) in [0, 1] inside, 8 bit on disk, and contact sheets."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ImageError, InputError, OutputError

if TYPE_CHECKING:
    from PIL.Image import Image


Pixels = NDArray[np.uint8]

# The formats write_image knows, by the ending of the file's name.
WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")

_GREY = 128  # what shows through transparent pixels: the value descents start from

_MODES = {1: "L", 3: "RGB"}


def read_image(
    path: str | os.PathLike[str], size: Sequence[int] | None = None, channels: int = 3
) -> NDArray[np.float32]:
    """Read a picture as the networks of this package take it.

    Parameters
    ----------
    path : path
        Any file Pillow reads: PNG, JPEG, WebP, TIFF, BMP, GIF (its first frame) and more. The EXIF rotation
        is applied, palettes are resolved, 16-bit grey keeps its precision, and transparent pixels show
        mid-grey.
    size : (H, W), optional
        Resize with antialiasing so that the picture just covers H x W, then cut out the centre. Without it
        the picture keeps its size.
    channels : 3 or 1
        RGB, or grey by the luma of ITU-R 601.

    Returns
    -------
    (channels, H, W) float32 array
        Values in [0, 1].

    Raises
    ------
    ImageError
        The file is missing, is no picture, or is truncated.
    InputError
        `size` or `channels` makes no sense.
    """
    if channels not in _MODES:
        raise InputError(f"read_image can give 1 or 3 channels, not {channels!r}.")
    picture = _open(Path(path))
    pixels = _as_float(picture, channels)
    if size is not None:
        pixels = _cover(pixels, _checked_size(size))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def read_planes(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], Pixels | None]:
    """Read a picture as it is, to filter it: greyscale stays greyscale, and alpha is kept apart.

    Parameters
    ----------
    path : path
        As `read_image`.

    Returns
    -------
    planes : (1, H, W) or (3, H, W) float32 array
        The values of the file in [0, 1]. Transparent pixels have the colour that the file gives them.
    alpha : (H, W) uint8 array, or None
        The alpha channel of a picture that has one.

    Raises
    ------
    ImageError
        As `read_image`.
    """
    picture = _open(Path(path))
    alpha = None
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        alpha = np.asarray(rgba.getchannel("A"))
        picture = rgba.convert("RGB") if picture.mode != "LA" else picture.getchannel("L")
    grey = picture.mode in ("1", "L", "F") or picture.mode.startswith("I")
    pixels = _as_float(picture, 1 if grey else 3)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), alpha


def _checked_size(size: Sequence[int]) -> tuple[int, int]:
    if np.shape(size) != (2,) or not all(isinstance(n, Integral) and n >= 1 for n in size):
        raise InputError(f"size must be two positive integers (H, W), got {size!r}.")
    return int(size[0]), int(size[1])


def _open(path: Path) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture)
    except FileNotFoundError:
        raise ImageError(f"There is no file {str(path)!r}; check the path.") from None
    except IsADirectoryError:
        raise ImageError(f"{str(path)!r} is a folder; name a picture in it.") from None
    except PermissionError:
        raise ImageError(f"{str(path)!r} may not be read; check its permissions.") from None
    except UnidentifiedImageError:
        raise ImageError(f"{str(path)!r} is not a picture that Pillow can read.") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{str(path)!r} is too large to be read safely: {error}") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{str(path)!r} cannot be read: {error}. The file may be damaged.") from None


def _as_float(picture: Image, channels: int) -> NDArray[np.float32]:
    """(H, W, channels) in [0, 1]; 16-bit and 32-bit grey do not pass through 8 bits."""
    if picture.mode.startswith("I") or picture.mode == "F":
        grey = np.asarray(picture, dtype=np.float32)
        if picture.mode != "F":
            grey = grey / np.float32(65535)
        return np.repeat(grey.clip(0, 1)[:, :, None], channels, axis=2)
    picture = _over_grey(picture).convert(_MODES[channels])
    pixels = np.asarray(picture, dtype=np.float32) / np.float32(255)
    return pixels.reshape(*pixels.shape[:2], channels)


def _over_grey(picture: Image) -> Image:
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    picture = picture.convert("RGBA")
    ground = Image.new("RGBA", picture.size, (_GREY, _GREY, _GREY, 255))
    return Image.alpha_composite(ground, picture)


def _cover(pixels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize until `size` is just covered, then cut out the centre."""
    h, w = pixels.shape[:2]
    scale = max(size[0] / h, size[1] / w)
    covering = max(size[0], round(scale * h)), max(size[1], round(scale * w))
    pixels = resized(pixels, covering)
    y, x = (covering[0] - size[0]) // 2, (covering[1] - size[1]) // 2
    return pixels[y : y + size[0], x : x + size[1]]


def resized(pixels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W, C) in [0, 1] at another size: bicubic with antialiasing, in floating point."""
    from PIL import Image

    if pixels.shape[:2] == size:
        return pixels
    planes = [
        np.asarray(Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling.BICUBIC))
        for plane in np.ascontiguousarray(pixels.transpose(2, 0, 1))
    ]
    return np.stack(planes, axis=-1).clip(0, 1)


def to_uint8(u: ArrayLike) -> Pixels:
    """Round [0, 1] to 0..255; values outside are clipped. Any shape."""
    return np.rint(np.clip(np.asarray(u, dtype=np.float32), 0, 1) * 255).astype(np.uint8)


def check_writable(path: str | os.PathLike[str], endings: Sequence[str] = WRITABLE) -> Path:
    """Find out, before hours of work, whether a result can be written to `path`.

    Parameters
    ----------
    path : path
        The file to be written later. Nothing is left behind at or beside it.
    endings : sequence of str
        The endings that are acceptable, with their dots, in lower case.

    Returns
    -------
    Path
        The same path.

    Raises
    ------
    OutputError
        The ending is unknown, the folder is absent or not writable, or the path is a folder.
    """
    path = Path(path)
    if path.suffix.lower() not in endings:
        raise OutputError(
            f"{str(path)!r} has no known ending, so its format is unclear; use one of {' '.join(endings)}."
        )
    if path.is_dir():
        raise OutputError(f"{str(path)!r} is a folder; name a file inside it.")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _not_written(path, error) from None
    return path


def arranged(images: Pixels) -> Pixels:
    """Images (N, H, W, C) as one picture: a single one as it is, several in a near-square grid."""
    pictures = [viewable(image) for image in images]
    return pictures[0] if len(pictures) == 1 else tiled(pictures)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder and those above it, unless they are there.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from None
    return folder


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file whole or not at all: into a temporary neighbour first, which then takes the name.

    Raises
    ------
    OutputError
        The folder is absent or not writable, or the disk is full; no partial file remains.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _not_written(path, error) from None
    except BaseException:  # Ctrl-C in the middle of a write
        temporary.unlink(missing_ok=True)
        raise
    return path


def _not_written(path: Path, error: OSError) -> OutputError:
    if not path.parent.exists():
        return OutputError(
            f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}; create it."
        )
    return OutputError(f"{str(path)!r} cannot be written: {error.strerror or error}. Choose another place.")


def encode(pixels: Pixels, ending: str = ".png") -> bytes:
    """The bytes of a picture file.

    Parameters
    ----------
    pixels : (H, W) or (H, W, C) uint8 array
        C is 1 or 3, or one more with alpha.
    ending : str
        The format, as the ending of a file's name.
    """
    import io

    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[:, :, 0]
    buffer = io.BytesIO()
    quality = {"quality": 95} if ending.lower() in (".jpg", ".jpeg", ".webp") else {}
    picture_format = Image.registered_extensions()[ending.lower()]
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, picture_format, **quality)
    return buffer.getvalue()


def write_image(path: str | os.PathLike[str], image: ArrayLike) -> Path:
    """Write one picture, whole or not at all.

    Parameters
    ----------
    path : path
        The ending decides the format: one of `WRITABLE`.
    image : (H, W), (H, W, 1) or (H, W, 3) uint8 array, or (1, H, W) or (3, H, W) float array in [0, 1]

    Raises
    ------
    OutputError
        As `check_writable` and `write_bytes`.
    InputError
        The array has another shape.
    """
    path = check_writable(path)
    return write_bytes(path, encode(_as_pixels(image), path.suffix))


def write_planes(path: str | os.PathLike[str], planes: Pixels, alpha: Pixels | None = None) -> Path:
    """Write one picture from its planes, whole or not at all.

    Parameters
    ----------
    path : path
        The ending decides the format: one of `WRITABLE`, one that can hold alpha where there is some.
    planes : (1, H, W) or (3, H, W) uint8 array
    alpha : (H, W) uint8 array, optional

    Raises
    ------
    OutputError
        As `check_writable` and `write_bytes`.
    """
    path = check_writable(path)
    channels = planes if alpha is None else np.concatenate([planes, alpha[None]])
    return write_bytes(path, encode(channels.transpose(1, 2, 0), path.suffix))


def write_array(path: str | os.PathLike[str], array: ArrayLike) -> Path:
    """Write an array in NumPy's own format (.npy), whole or not at all.

    Raises
    ------
    OutputError
        As `write_bytes`.
    """
    import io

    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=False)
    return write_bytes(path, buffer.getvalue())


def _as_pixels(image: ArrayLike) -> Pixels:
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        if pixels.ndim == 3:
            pixels = pixels.transpose(1, 2, 0)
        pixels = to_uint8(pixels)
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] in _MODES)):
        raise InputError(
            f"A picture has the shape (H, W), (H, W, 1) or (H, W, 3) in uint8, or (1, H, W) or (3, H, W) "
            f"in floating point, not {np.shape(image)}."
        )
    return pixels


def viewable(image: Pixels) -> Pixels:
    """One (H, W, C) image as a picture to look at.

    One channel is grey and three are RGB. With two, or with more than three, no choice of colours would be
    honest: the channels are laid out side by side as grey pictures, row by row.
    """
    channels = image.shape[-1]
    if channels in _MODES:
        return image
    return tiled([image[:, :, c, None] for c in range(channels)])


def tiled(images: Sequence[Pixels], gap: int = 4, columns: int | None = None) -> Pixels:
    """Pictures of one size, (H, W, C) uint8, side by side on white in a near-square grid of (H', W', C)."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    h, w, c = images[0].shape
    sheet = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, c), 255, np.uint8)
    for k, image in enumerate(images):
        y, x = (k // columns) * (h + gap), (k % columns) * (w + gap)
        sheet[y : y + h, x : x + w] = image
    return sheet
