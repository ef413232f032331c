"""A machine's memory put into a file, and guests put to sleep; blocking, for libvirt's threads."""

from __future__ import annotations

from typing import Any

import libvirt

from vmcontroller.common.errors import Unsupported
from vmcontroller.host.hypervisor.libvirt.calls import Operation
from vmcontroller.host.hypervisor.libvirt.errors import BACKEND
from vmcontroller.host.hypervisor.vm_state import VmState

_NO_AGENT = frozenset(
    {
        libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_NO_SUPPORT,
    }
)
"""How libvirt says that there is no agent of QEMU's in the guest, or that the guest can't."""


def _save(domain: Any) -> None:
    if domain.state()[0] == libvirt.VIR_DOMAIN_PMSUSPENDED:
        raise Unsupported(BACKEND, "saving a machine that sleeps; resume wakes it")
    domain.managedSave(0)


def _sleep(domain: Any) -> None:
    try:
        domain.pMSuspendForDuration(libvirt.VIR_NODE_SUSPEND_TARGET_MEM, 0, 0)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in _NO_AGENT:
            raise
        raise Unsupported(
            BACKEND,
            "sleep without an agent in the guest: our own is not connected, and of QEMU's libvirt "
            f"says: {error.get_error_message()}",
        ) from error


SAVE = Operation(name="saveState", allowed=frozenset({VmState.RUNNING, VmState.PAUSED}), act=_save)
DISCARD = Operation(
    name="discardState",
    allowed=frozenset({VmState.SAVED}),
    act=lambda domain: domain.managedSaveRemove(0),
)
SLEEP = Operation(name="sleep", allowed=frozenset({VmState.RUNNING}), act=_sleep)


def _resume(domain: Any) -> None:
    if domain.state()[0] == libvirt.VIR_DOMAIN_PMSUSPENDED:
        domain.pMWakeup(0)  # resume() is refused then
    else:
        domain.resume()


RESUME = Operation(name="resume", allowed=frozenset({VmState.PAUSED}), act=_resume)
