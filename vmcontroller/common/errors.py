"""The errors that are expected: each has a published name; anything else is a bug.

`fault` is the name a client sees (`NAME: detail`); the numbers are in `host.xmlrpc.faults`.
Errors carry data; the text is made from it, so that tests compare attributes, not prose.
"""

from __future__ import annotations

from typing import ClassVar


class VMControllerError(Exception):
    """Something a caller can understand and act on."""

    fault: ClassVar[str] = "FAILED"


class ConfigError(VMControllerError):
    """The configuration file has an unknown key or a value that is not allowed."""

    fault = "BAD_CONFIG"

    def __init__(self, source: str, key: str, problem: str) -> None:
        super().__init__(f"{source}: {key}: {problem}" if key else f"{source}: {problem}")
        self.source = source
        self.key = key
        self.problem = problem


class BadArgument(VMControllerError):
    """An argument of a call is of the wrong type, out of range or not allowed."""

    fault = "BAD_ARGUMENT"

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


class NoSuchMethod(VMControllerError):
    """The XML-RPC method does not exist."""

    fault = "NO_SUCH_METHOD"

    def __init__(self, method: str) -> None:
        super().__init__(f"there is no method {method!r}; help() lists them")
        self.method = method


class NoSuchVM(VMControllerError):
    """No virtual machine has this name, UUID or MAC address."""

    fault = "NO_SUCH_VM"

    def __init__(self, vm: str) -> None:
        super().__init__(f"no VM has the name, UUID or MAC address {vm!r}; listVMs() names them")
        self.vm = vm


class VMExists(VMControllerError):
    """The name is taken by another virtual machine."""

    fault = "VM_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"a VM named {name!r} exists already")
        self.name = name


class NoSuchImage(VMControllerError):
    """The disk image is missing or cannot be read."""

    fault = "NO_SUCH_IMAGE"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path!r}: {problem}")
        self.path = path
        self.problem = problem


class BadImage(VMControllerError):
    """The file is not a disk image of a known format."""

    fault = "BAD_IMAGE"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path!r}: {problem}")
        self.path = path
        self.problem = problem


class ImageInUse(VMControllerError):
    """Another virtual machine has this disk image."""

    fault = "IMAGE_IN_USE"

    def __init__(self, path: str, user: str) -> None:
        super().__init__(f"{path!r} is in use by {user}")
        self.path = path
        self.user = user


class NoSuchSnapshot(VMControllerError):
    """The virtual machine has no snapshot of this name."""

    fault = "NO_SUCH_SNAPSHOT"

    def __init__(self, vm: str, name: str) -> None:
        which = f"no snapshot named {name!r}" if name else "no snapshot to go back to"
        super().__init__(f"{vm!r} has {which}; listSnapshots names those it has")
        self.vm = vm
        self.name = name


class SnapshotExists(VMControllerError):
    """The virtual machine has a snapshot of this name already."""

    fault = "SNAPSHOT_EXISTS"

    def __init__(self, vm: str, name: str) -> None:
        super().__init__(f"{vm!r} has a snapshot named {name!r} already")
        self.vm = vm
        self.name = name


class NoSuchCommand(VMControllerError):
    """No command has this id: it never existed, was forgotten, or its time to live passed."""

    fault = "NO_SUCH_COMMAND"

    def __init__(self, cmd_id: str) -> None:
        super().__init__(f"no command has the id {cmd_id!r}")
        self.cmd_id = cmd_id


class NoSuchTransfer(VMControllerError):
    """No copy has this id: it never existed, or it ended too long ago."""

    fault = "NO_SUCH_TRANSFER"

    def __init__(self, transfer_id: str) -> None:
        super().__init__(f"no copy has the id {transfer_id!r}; listTransfers() names them")
        self.transfer_id = transfer_id


class NoSuchTask(VMControllerError):
    """The caller has no task with this id: it never existed, or it ended too long ago."""

    fault = "NO_SUCH_TASK"

    def __init__(self, task_id: str) -> None:
        super().__init__(f"no task of yours has the id {task_id!r}; listTasks() names them")
        self.task_id = task_id


class InvalidState(VMControllerError):
    """The virtual machine is in a state in which the operation makes no sense."""

    fault = "INVALID_STATE"

    def __init__(self, vm: str, state: str, operation: str, allowed: str) -> None:
        super().__init__(f"{vm!r} is {state}: {operation} needs {allowed}")
        self.vm = vm
        self.state = state
        self.operation = operation
        self.allowed = allowed


class DeadlinePassed(VMControllerError):
    """What was asked for was begun but its result was not reached in time."""

    fault = "DEADLINE_PASSED"

    def __init__(self, what: str, deadline_s: float) -> None:
        super().__init__(f"{what} within {deadline_s:g} s")
        self.what = what
        self.deadline_s = deadline_s


class Busy(VMControllerError):
    """There is too much of something just now; worth trying again a little later."""

    fault = "BUSY"


class NotStored(VMControllerError):
    """The daemon could not write to its own disk, or read from it."""

    fault = "NOT_STORED"

    def __init__(self, problem: str) -> None:
        super().__init__(f"the database of commands: {problem}")
        self.problem = problem


class Unsupported(VMControllerError):
    """The hypervisor (or this guest's agent) cannot do this."""

    fault = "UNSUPPORTED"

    def __init__(self, backend: str, what: str) -> None:
        super().__init__(f"{backend} does not support {what}")
        self.backend = backend
        self.what = what


class HypervisorError(VMControllerError):
    """The hypervisor refused or failed; the detail is its own text."""

    fault = "HYPERVISOR_ERROR"

    def __init__(self, backend: str, detail: str) -> None:
        super().__init__(f"{backend}: {detail}")
        self.backend = backend
        self.detail = detail


class HypervisorUnreachable(HypervisorError):
    """The hypervisor does not answer; worth trying again."""

    fault = "HYPERVISOR_UNREACHABLE"


class GuestUnreachable(VMControllerError):
    """No agent of this virtual machine is connected, or it did not answer."""

    fault = "GUEST_UNREACHABLE"

    def __init__(self, vm: str, problem: str) -> None:
        super().__init__(f"{vm!r}: {problem}")
        self.vm = vm
        self.problem = problem


class TransferFailed(VMControllerError):
    """A file could not be copied; `reason` is a published word such as NO_SUCH_FILE."""

    fault = "TRANSFER_FAILED"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class AccessDenied(VMControllerError):
    """The caller, or the configuration, does not allow this."""

    fault = "ACCESS_DENIED"


class ProtocolError(VMControllerError):
    """A peer broke a rule of STOMP, or of our words on it."""

    fault = "PROTOCOL_ERROR"


class NotConnected(VMControllerError):
    """There is no connection to the broker right now."""

    fault = "NOT_CONNECTED"
