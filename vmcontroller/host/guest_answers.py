"""What the API answers of a guest. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmcontroller.host.guests import Guest
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.identity.identities import identity_of


def answer_of(
    vm: Vm, guest: Guest | None, *, detail: str, now_s: float, wall_s: float
) -> Mapping[str, Any]:
    """Return the answer of getGuest: the VM, and its agent if that is connected.

    `detail` says why an agent that was there is not any more. What the guest writes of itself is
    data: who it is, its connection says.
    """
    answer: dict[str, Any] = {
        "name": vm.name,
        "uuid": vm.uuid,
        "id": identity_of(vm),
        "state": vm.state,
        "connected": guest is not None,
    }
    if guest is None:
        return answer | {"detail": detail or "its agent has not been heard"}
    about = guest.descriptor
    return answer | {
        "id": guest.id,
        "since": wall_s - (now_s - guest.since_s),
        "lastHeard": wall_s - (now_s - guest.last_heard_s),
        "silentFor": now_s - guest.last_heard_s,
        "latency": guest.latency_s,
        "load": guest.load,
        "version": guest.agent_version,
        "protocol": guest.protocol,
        "capabilities": list(guest.capabilities),
        "session": guest.session,
        "epoch": guest.epoch,
        "bootId": guest.boot_id,
        "hostname": about.hostname,
        "os": about.os,
        "ip": about.ip,
        "addresses": list(about.addresses),
    }
