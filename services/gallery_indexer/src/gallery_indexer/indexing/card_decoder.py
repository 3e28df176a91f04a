"""Decodes and resizes JPEG photographs on a GPU with nvImageCodec; everything else is left to the CPU's decoder."""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL.ImageFile import ImageFile
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from aff_shared.errors import ImageError, MissingExtraError
from aff_shared.images.decoding import ImageLimits
from aff_shared.images.formats import exif_orientation
from aff_shared.images.jpeg import open_jpeg, segments
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.image_encoder import Pixels

_START, _END, _BASELINE = b"\xff\xd8", b"\xff\xd9", 0xC0
_CHANNELS = 3
_YCC = 1  # Adobe's number of the usual colour transform
_GREY = range(126, 131)  # what decoders make of missing blocks; libjpeg-turbo makes 127 or 128
_PACKAGE = "nvidia.nvimgcodec"

_logger = logging.getLogger(__name__)


class CardPhotograph:
    """A decoded photograph in a GPU's memory.

    Args:
        pixels: (H, W, 3) uint8, upright RGB.
    """

    def __init__(self, pixels: Tensor) -> None:
        self.height, self.width = pixels.shape[:2]
        self._pixels = pixels.permute(2, 0, 1)[None].float()

    def preprocessed(self, spec: Preprocessing) -> Pixels:
        """Resize as `preprocess` does, up to rounding: (h, w, 3) uint8 in the machine's memory."""
        size = spec.output_shape(self.height, self.width)
        resized = self._pixels
        if size != (self.height, self.width):
            resized = F.interpolate(resized, size, mode="bilinear", align_corners=False, antialias=True)
        pixels = resized[0].round().clamp(0, 255).byte().permute(1, 2, 0)
        return np.ascontiguousarray(pixels.cpu().numpy())


def require_card_decoder() -> None:
    """Check that nvImageCodec is installed.

    Raises:
        MissingExtraError: It is not; the message has the command.
    """
    try:
        found = find_spec(_PACKAGE)
    except ModuleNotFoundError:  # no package `nvidia` at all
        found = None
    if found is None:
        command = "pip install 'aff-gallery-indexer[nvimgcodec]'"
        raise MissingExtraError(f"AFF_INDEX_JPEG_DECODER=nvimgcodec needs nvImageCodec: {command}")


def decode_on_card(data: bytes, limits: ImageLimits) -> CardPhotograph | None:
    """Decode a JPEG on the GPU.

    Returns:
        None for what the CPU has to decode or reject: other formats, files beyond the limits, JPEGs that are not
        baseline, not of three components in YCbCr, turned by EXIF or cut, and what the GPU cannot decode.
    """
    if _decoder() is None or not _is_plain(data, limits):
        return None
    try:
        image = _decoded(data)
        pixels = None if image is None else from_dlpack(image)
        if pixels is None or pixels.ndim != _CHANNELS or pixels.dtype != torch.uint8 or _may_be_cut(pixels):
            return None
        return CardPhotograph(pixels)
    except Exception:  # of any kind: a library without documented exceptions
        _logger.warning("a photograph cannot be decoded on the GPU; the CPU decodes it", exc_info=True)
        return None


def _is_plain(data: bytes, limits: ImageLimits) -> bool:
    """Return whether every decoder reads the same pixels from it, by its headers, and it is within the limits."""
    if len(data) > limits.max_image_bytes or not data.startswith(_START) or not data.endswith(_END):
        return False
    try:
        image = open_jpeg(data)
        frames = [one.marker for one in segments(data) if one.marker == _BASELINE]
    except (ImageError, OSError, SyntaxError, ValueError):
        return False
    usual = image.mode == "RGB" and image.info.get("adobe_transform", _YCC) == _YCC
    scans = image.info["coefficient_bytes"]
    return usual and len(frames) == 1 and not scans and exif_orientation(image) == 1 and _fits(image, limits)


def _fits(image: ImageFile, limits: ImageLimits) -> bool:
    within = image.width * image.height <= min(limits.max_pixels, limits.large_pixels)
    return within and max(image.size) <= limits.max_side and min(image.size) >= limits.min_side


def _may_be_cut(pixels: Tensor) -> bool:
    """Return whether the last pixel is of the grey of missing blocks, which the CPU's decoder then looks at."""
    return all(level in _GREY for level in pixels[-1, -1].tolist())


def _decoded(data: bytes) -> Any:
    """Return the library's image (H, W, 3) uint8 in the GPU's memory, or None."""
    from nvidia import nvimgcodec  # noqa: PLC0415 - optional

    upright = nvimgcodec.DecodeParams(apply_exif_orientation=False)
    return _decoder().decode(nvimgcodec.CodeStream(data), params=upright)


@cache
def _decoder() -> Any:
    """Return this process's decoder; None, with a warning, if there is no GPU that it can use."""
    try:
        from nvidia import nvimgcodec  # noqa: PLC0415 - optional

        kinds = nvimgcodec.BackendKind
        return nvimgcodec.Decoder(
            max_num_cpu_threads=1,
            backends=[nvimgcodec.Backend(kind) for kind in (kinds.HW_GPU_ONLY, kinds.GPU_ONLY, kinds.HYBRID_CPU_GPU)],
            options=":fancy_upsampling=1",  # as libjpeg-turbo does
        )
    except Exception:  # of any kind, see above
        _logger.warning("no decoder on a GPU; the CPU decodes all photographs", exc_info=True)
        return None
