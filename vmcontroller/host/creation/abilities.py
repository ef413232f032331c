"""Options that a hypervisor can't fulfil, refused by name before a file is looked at. Pure."""

from __future__ import annotations

from vmcontroller.common.errors import Unsupported
from vmcontroller.host.hypervisor.base import Capability, Hypervisor
from vmcontroller.host.requests import CreateOptions


def check_abilities(hypervisor: Hypervisor, options: CreateOptions) -> None:
    """Raise Unsupported with the first of the options that this hypervisor can't fulfil."""
    for capability, names in _NEEDS.items():
        if capability in hypervisor.capabilities:
            continue
        for name, field in names:
            if getattr(options, field):
                raise Unsupported(hypervisor.name, f"the option {name}")
    if Capability.CLONES not in hypervisor.capabilities and any(
        not disk.path for disk in options.disks
    ):
        raise Unsupported(hypervisor.name, "the option disks without a path: disks that are made")
    if (
        options.network in {"isolated", "bridge"}
        and Capability.NETWORKS not in hypervisor.capabilities
    ):
        raise Unsupported(hypervisor.name, f"the network {options.network!r}")


_NEEDS = {
    Capability.DISK_IMAGES: (
        ("format", "format"),
        ("diskSize", "disk_size_mib"),
    ),
    Capability.DIRECT_BOOT: (
        ("kernel", "kernel"),
        ("initrd", "initrd"),
        ("cmdline", "cmdline"),
    ),
    Capability.CLONES: (("clone", "clone"),),
    Capability.DEVICES: (
        ("disks", "disks"),
        ("bus", "bus"),
        ("cdrom", "cdrom"),
        ("bootOrder", "boot_order"),
    ),
    Capability.FIRMWARE: (("firmware", "firmware"),),
    Capability.SEEDS: (
        ("userData", "user_data"),
        ("metaData", "meta_data"),
        ("networkConfig", "network_config"),
        ("sshKeys", "ssh_keys"),
        ("hostname", "hostname"),
    ),
    Capability.NETWORKS: (("bridge", "bridge"),),
}
