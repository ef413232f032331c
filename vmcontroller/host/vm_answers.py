"""What is answered about a VM, as plain values. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from vmcontroller.host.hypervisor.base import Vm, VmDetails


def vm_answer(
    vm: Vm, details: VmDetails, *, hypervisor: str, made: Collection[str], snapshots: int
) -> Mapping[str, Any]:
    """Return what getVM answers; `made` are the paths of what createVM has made for it.

    `snapshots` is their number.
    """
    return {
        "name": vm.name,
        "uuid": vm.uuid,
        "state": vm.state,
        "macs": list(vm.macs),
        "memory": details.memory_mib,
        "vcpus": details.vcpus,
        "disks": [
            {
                "path": disk.path,
                "format": disk.format,
                "bus": disk.bus,
                "made": disk.path in made,
                "readOnly": disk.read_only,
            }
            for disk in details.disks
        ],
        "network": details.network,
        "firmware": details.firmware,
        "description": details.description,
        "hypervisor": hypervisor,
        "snapshots": snapshots,
    }
