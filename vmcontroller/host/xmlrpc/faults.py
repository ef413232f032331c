"""The published Faults: a number and a name for every error a caller can meet.

Numbers are part of the API: they are added in the gaps of their family and never given to
another error. The original's only numbers (-1 for every exception, 8001 for an unknown method,
8002 for what could not be read or written) told one error from another by its prose alone; no
client of it looks at them, so they are not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from xmlrpc.client import Fault

from vmcontroller.common.errors import VMControllerError

FAMILIES: Final[tuple[tuple[int, str], ...]] = (
    (1, "the call itself"),
    (10, "names"),
    (20, "states"),
    (30, "the hypervisor"),
    (40, "guests and their agents"),
    (50, "access"),
    (60, "the daemon"),
)
"""The first number of each, and what it is about."""


class Published(NamedTuple):
    """A Fault's number, and what it means to who meets it."""

    number: int
    meaning: str


PUBLISHED: Final[Mapping[str, Published]] = {
    "NO_SUCH_METHOD": Published(
        1,
        "The method does not exist; `system.listMethods` names those that do.",
    ),
    "BAD_ARGUMENT": Published(
        2,
        "An argument is missing, surplus, of the wrong type, out of range or not "
        "allowed; the detail begins with its name. Nothing was done.",
    ),
    "BAD_REQUEST": Published(3, "The request is not a well-formed XML-RPC call."),
    "FAILED": Published(
        8,
        "It failed in a way that has no name of its own yet; the detail says how.",
    ),
    "INTERNAL": Published(
        9,
        "A bug: the detail holds an incident's id, and the daemon's log has the rest under it.",
    ),
    "NO_SUCH_VM": Published(10, "No virtual machine has this name, UUID or MAC address."),
    "VM_EXISTS": Published(11, "The name is taken."),
    "NO_SUCH_IMAGE": Published(12, "The disk image is missing or cannot be read."),
    "BAD_IMAGE": Published(13, "The file is not a disk image of a known format."),
    "IMAGE_IN_USE": Published(14, "Another virtual machine has this disk image."),
    "NO_SUCH_COMMAND": Published(
        15,
        "No command has this id: it never existed, was forgotten, or its time to live has passed.",
    ),
    "NO_SUCH_TASK": Published(
        16,
        "The caller has no task with this id: it never existed, it ended too long ago, or the "
        "daemon was started anew since.",
    ),
    "NO_SUCH_TRANSFER": Published(
        17, "No copy has this id: it never existed, or it ended too long ago."
    ),
    "NO_SUCH_SNAPSHOT": Published(18, "The virtual machine has no snapshot of this name."),
    "SNAPSHOT_EXISTS": Published(19, "The virtual machine has a snapshot of this name already."),
    "INVALID_STATE": Published(
        20,
        "The virtual machine is in a state in which the operation makes no sense.",
    ),
    "DEADLINE_PASSED": Published(
        21,
        "What was asked for was begun but not reached in time; it may still come.",
    ),
    "BUSY": Published(
        22,
        "There is too much of it just now, as the detail says; worth trying again a little later.",
    ),
    "HYPERVISOR_ERROR": Published(
        30,
        "The hypervisor refused or failed; the detail is its own text.",
    ),
    "HYPERVISOR_UNREACHABLE": Published(31, "The hypervisor does not answer; worth trying again."),
    "UNSUPPORTED": Published(32, "This hypervisor, or this guest's agent, cannot do it."),
    "GUEST_UNREACHABLE": Published(
        40,
        "No agent of this virtual machine is connected, or it did not answer.",
    ),
    "TRANSFER_FAILED": Published(
        42,
        "A file could not be copied; the detail begins with a word that says why.",
    ),
    "ACCESS_DENIED": Published(50, "The caller, or the configuration, does not allow this."),
    "BAD_CONFIG": Published(60, "The configuration has a value that is not allowed."),
    "NOT_CONNECTED": Published(61, "The daemon has no connection to the broker right now."),
    "PROTOCOL_ERROR": Published(62, "A peer broke a rule of the message protocol."),
    "NOT_STORED": Published(
        63, "The daemon can't write to its own disk, or read from it; its log says more."
    ),
}


class BadRequest(VMControllerError):
    """The request is not a well-formed XML-RPC call."""

    fault = "BAD_REQUEST"


def expected_fault(error: Exception) -> Fault | None:
    """Return what the caller of a call gets that raised this, or None if it is a bug."""
    if isinstance(error, VMControllerError) and error.fault in PUBLISHED:
        return Fault(PUBLISHED[error.fault].number, f"{error.fault}: {error}")
    return None


def internal_fault(incident: str) -> Fault:
    """Return what the caller gets when it met a bug, logged under the id `incident`."""
    return Fault(
        PUBLISHED["INTERNAL"].number,
        f"INTERNAL: incident {incident}; the daemon's log has more under this id",
    )
