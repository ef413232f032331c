"""A seed as an ISO 9660 image: written without root, without mounting. Blocks."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping

import pycdlib

from vmcontroller.host.creation.seed import LABEL


def write_seed(path: str, files: Mapping[str, bytes]) -> None:
    """Write the image anew; for its owner only, since user-data has secrets. Raises OSError.

    The names are there in Rock Ridge and Joliet: ISO 9660 alone knows no hyphens.
    """
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
    for number, (name, content) in enumerate(files.items()):
        image.add_fp(
            io.BytesIO(content),
            len(content),
            f"/FILE{number}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
        )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        image.write_fp(file)
        file.flush()
        os.fsync(file.fileno())
    image.close()
