"""What differs between libvirt's drivers, chosen by the URI. No connection, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import libvirt

from vmcontroller.common.errors import ConfigError
from vmcontroller.host.hypervisor.base import Capability


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """The traits of one driver; flags are libvirt's."""

    scheme: str
    is_local: bool
    """The URI names no other machine: paths and /dev/kvm are those of this one."""
    capabilities: frozenset[Capability]
    shutdown_flags: int
    undefine_flags: int


# Measured with libvirt 9.0: the test driver refuses the other flags, and has no guest to boot.
_TEST_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
)
_QEMU_UNDEFINE = (
    _TEST_UNDEFINE
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)


# What the daemon makes is on this host, where a hypervisor elsewhere can't read it.
_FILES_HERE = frozenset({Capability.CLONES, Capability.SEEDS, Capability.CONSOLE_LOG})


def driver_of(uri: str) -> Driver:
    """Return the traits of the driver that `uri` names.

    Raises ConfigError for a scheme other than qemu and test (with any transport, as in
    `qemu+ssh`).
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    is_local = not parts.netloc
    if scheme == "qemu":
        return Driver(
            scheme=scheme,
            is_local=is_local,
            capabilities=frozenset(Capability) - (frozenset() if is_local else _FILES_HERE),
            shutdown_flags=libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN,
            undefine_flags=_QEMU_UNDEFINE,
        )
    if scheme == "test":
        return Driver(
            scheme=scheme,
            is_local=is_local,
            capabilities=frozenset(Capability)
            - {Capability.DIRECT_BOOT, Capability.SLEEP}
            - {Capability.FIGURES, Capability.CONSOLE_LOG},
            shutdown_flags=0,
            undefine_flags=_TEST_UNDEFINE,
        )
    raise ConfigError("hypervisor", "uri", f"{uri!r} is not a qemu: or test: URI of libvirt")
