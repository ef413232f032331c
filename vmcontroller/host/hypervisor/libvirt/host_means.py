"""What a host may lack for a new machine, and what to do about it."""

from __future__ import annotations

import os
from typing import Final

from vmcontroller.common.errors import BadArgument

SYS_NET: Final = "/sys/class/net"
_UEFI_PACKAGES: Final = {"x86_64": "ovmf", "i686": "ovmf", "aarch64": "qemu-efi-aarch64"}


def no_uefi(arch: str) -> str:
    """Say what is missing for firmware `uefi`, to follow 'does not support'."""
    package = _UEFI_PACKAGES.get(arch)
    hint = f"; Debian and Ubuntu have one in the package {package}" if package else ""
    return f"firmware 'uefi': libvirt finds none for {arch} on this host{hint}"


def check_bridge(name: str, sys_net: str = SYS_NET) -> None:
    """Raise BadArgument, with those there are, unless the host has a bridge of that name."""
    if os.path.isdir(f"{sys_net}/{name}/bridge"):
        return
    there = sorted(
        each for each in os.listdir(sys_net) if os.path.isdir(f"{sys_net}/{each}/bridge")
    )
    raise BadArgument(
        "options.bridge",
        f"this host has no bridge {name!r:.100}; it has {', '.join(there) or 'none'}",
    )
