"""What keeps the console logs of libvirt's machines bounded, on this host. Blocks."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Final

QEMU_CONFIG: Final = Path("/etc/libvirt/qemu.conf")
_TO_FILES = re.compile(r"""^\s*stdio_handler\s*=\s*["']?file["']?""", re.MULTILINE)


def are_logs_bounded(config: Path = QEMU_CONFIG) -> bool:
    """Whether virtlogd writes what guests print, which keeps a few files of a few MiB of it.

    libvirt can be told to let QEMU write straight to the file: then a guest could fill the disk.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return _TO_FILES.search(config.read_text(encoding="utf-8")) is None
    return True
