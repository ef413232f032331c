"""A screenshot as a PNG of bounded size, whatever the guest has made of its screen. Pure."""

from __future__ import annotations

import io
from typing import Final

from vmcontroller.common.errors import HypervisorError, Unsupported
from vmcontroller.host.hypervisor.libvirt.errors import BACKEND

PIXELS_MOST: Final = 2**24
"""A larger screen is refused before it is decoded: as RGB it would take more than 48 MiB."""
PIXELS_KEPT: Final = 2**22
"""A larger screen is made smaller: 2560 by 1600 is as it is."""


def png_of(picture: bytes) -> bytes:
    """Return a picture that QEMU took, in PPM or PNG, as a PNG.

    Raises Unsupported for a screen that is too large, HypervisorError for what is no picture.
    """
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - megabytes, for a rare call

    Image.MAX_IMAGE_PIXELS = None  # our own limit is lower, and no mere warning
    try:
        with Image.open(io.BytesIO(picture), formats=("PNG", "PPM")) as image:
            pixels = image.width * image.height
            if pixels > PIXELS_MOST:
                raise Unsupported(
                    BACKEND,
                    f"a screen of {image.width} by {image.height}; {PIXELS_MOST} pixels at most",
                )
            if image.format == "PNG" and pixels <= PIXELS_KEPT:
                return picture
            kept = image.convert("RGB")
            factor = 1
            while pixels > PIXELS_KEPT * factor**2:
                factor += 1
            written = io.BytesIO()
            kept.reduce(factor).save(written, "PNG", compress_level=3)
            return written.getvalue()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise HypervisorError(BACKEND, f"the screenshot is no picture: {error}") from error
