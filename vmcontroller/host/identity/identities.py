"""Which id a virtual machine's guest has on the broker. Pure."""

from __future__ import annotations

from vmcontroller.common.model import GuestId, id_of_uuid
from vmcontroller.host.hypervisor.base import Vm


def identity_of(vm: Vm) -> GuestId:
    """Return the MAC address of the first NIC; without one, an address made of the UUID."""
    return GuestId(vm.macs[0]) if vm.macs else id_of_uuid(vm.uuid)
