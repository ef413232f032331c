"""libvirt's errors as ours; nothing of libvirt's crosses the interface but as a cause."""

from __future__ import annotations

import libvirt

from vmcontroller.common.errors import (
    Busy,
    HypervisorError,
    HypervisorUnreachable,
    NoSuchVM,
    VMControllerError,
    VMExists,
)

BACKEND = "libvirt"

# NO_CLIENT and INTERNAL_ERROR of the RPC layer are "client socket is closed" and its like.
_UNREACHABLE_CODES = frozenset(
    {
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_NO_CLIENT,
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
    }
)
_UNREACHABLE_DOMAINS = frozenset({libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE})
_LOST_CODES = frozenset({libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_SYSTEM_ERROR})


def is_unreachable(error: libvirt.libvirtError) -> bool:
    """Whether the error says that nobody answers, rather than that somebody refused."""
    code, domain = error.get_error_code(), error.get_error_domain()
    return code in _UNREACHABLE_CODES or (domain in _UNREACHABLE_DOMAINS and code in _LOST_CODES)


def translate(error: libvirt.libvirtError, *, vm: str = "") -> VMControllerError:
    """Return our error for libvirt's, by its code; `vm` is what the caller asked for.

    A wrong state is not told here: libvirt's drivers give it different codes, so whoever
    called asks for the state instead.
    """
    code = error.get_error_code()
    detail = error.get_error_message() or str(error)
    if is_unreachable(error):
        return HypervisorUnreachable(BACKEND, detail)
    if code == libvirt.VIR_ERR_NO_DOMAIN:
        return NoSuchVM(vm)
    if code == libvirt.VIR_ERR_DOM_EXIST:
        return VMExists(vm)
    if code == libvirt.VIR_ERR_OPERATION_TIMEOUT:  # of a lock: another call for this machine
        return Busy(f"{BACKEND}: {detail}")
    return HypervisorError(BACKEND, detail)
