"""Thumbnails: a raster image re-encoded small, with nothing of the original but its pixels."""

from __future__ import annotations

import copy
import io
import warnings

from PIL import (
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

# All that Pillow would import only when a file asks for it: once locked in, nothing can be imported any more.
LOADED = (copy, GifImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)
SIZES = {"card": 320, "page": 1280}
_DRAWN = {"PNG", "GIF"}  # mostly plots and screenshots, where lossy compression shows


class Refused(Exception):
    """The file cannot be shown, for a reason a person can be told."""


def thumbnails(content: bytes, formats: tuple[str, ...], pixels: int) -> list[tuple[str, int, int, bytes]]:
    """(variant, width, height, WebP) for a card and for a page. Raises Refused."""
    Image._initialized = 2  # Pillow is not to look for further plug-ins by itself.
    Image.MAX_IMAGE_PIXELS = pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        with Image.open(io.BytesIO(content), formats=formats) as image:
            lossless = image.format in _DRAWN
            image.draft("RGB", (2 * SIZES["page"], 2 * SIZES["page"]))
            image.load()
            upright = ImageOps.exif_transpose(image)
            plain = upright.convert("RGBA" if _has_transparency(upright) else "RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        raise Refused(
            f"the picture has more than {pixels // 1_000_000} million pixels or needs too much memory"
        ) from None
    except Exception as error:
        raise Refused(f"the file cannot be read as a picture ({type(error).__name__})") from None
    return [_encoded(plain, variant, size, lossless) for variant, size in SIZES.items()]


def _encoded(image: Image.Image, variant: str, size: int, lossless: bool) -> tuple[str, int, int, bytes]:
    small = image.copy()
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    # method=2: a tenth of the time of the default for a few per cent more bytes.
    small.save(out, "WEBP", lossless=lossless, quality=60 if lossless else 82, method=2, exif=b"", icc_profile=b"")
    return variant, small.width, small.height, out.getvalue()


def _has_transparency(image: Image.Image) -> bool:
    return image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info
