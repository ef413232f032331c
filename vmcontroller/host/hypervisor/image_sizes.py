"""How large the disk is that an image holds. `disk_bytes` is pure; `read_disk_bytes` reads."""

from __future__ import annotations

import re

from vmcontroller.common.errors import BadImage
from vmcontroller.host.hypervisor.images import SECTOR_BYTES, read_head

_VMDK_SPARSE = b"KDMV"
_VMDK_EXTENT = re.compile(rb"^(?:RW|RDONLY|NOACCESS)\s+(\d{1,15})\s+\w+", re.MULTILINE)


def disk_bytes(head: bytes, size: int, image_format: str, path: str) -> int:
    """Return the size of the disk as its guest sees it, in bytes.

    `head` are the image's first HEAD_BYTES bytes and `size` is all it has. Raises BadImage where
    its header does not say.
    """
    if image_format == "raw":
        return size
    if image_format == "qcow2" and len(head) >= 32:
        return int.from_bytes(head[24:32], "big")
    if image_format == "vmdk":
        if head.startswith(_VMDK_SPARSE) and len(head) >= 20:
            return int.from_bytes(head[12:20], "little") * SECTOR_BYTES
        sectors = [int(number) for number in _VMDK_EXTENT.findall(head)]
        if sectors:
            return sum(sectors) * SECTOR_BYTES
    raise BadImage(path, "does not say how large its disk is")


def read_disk_bytes(path: str, image_format: str) -> int:
    """Return the size of the disk that a file holds, in bytes; raises as `read_head`, BadImage."""
    head, size = read_head(path)
    return disk_bytes(head, size, image_format, path)
