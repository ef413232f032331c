"""What goes wrong with a call: a Fault of the daemon's, or that there was no answer of it.

Pure. A Fault has the class of its name, so that a program says which it can deal with.
"""

from __future__ import annotations

from typing import ClassVar, Final


class ClientError(Exception):
    """Anything that goes wrong with a call; `str()` says what, and often what to do."""

    name: str = "FAILED"
    """A word for it, as a Fault has one."""


class Unreachable(ClientError):
    """No connection to the daemon came about: nothing was done, and trying again is harmless."""

    name = "UNREACHABLE"


class ConnectionLost(ClientError):
    """The connection broke before the answer was there: the call may have been done, or not."""

    name = "CONNECTION_LOST"


class TimedOut(ConnectionLost):
    """The answer did not come in time: the daemon may still be at it."""

    name = "TIMED_OUT"


class Unauthorized(ClientError):
    """The daemon does not know the user, the password or the token; nothing was done."""

    name = "UNAUTHORIZED"


class BadAnswer(ClientError):
    """What answers is no VMController, or refuses the request as such."""

    name = "BAD_ANSWER"


class NotSendable(ClientError):
    """An argument has something that XML cannot carry; nothing was sent."""

    name = "NOT_SENDABLE"


class CopyFailed(ClientError):
    """A file could not be copied between here and a guest; nothing of it is under its name."""

    name = "COPY_FAILED"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        """A word as TRANSFER_FAILED has it, such as NO_SUCH_FILE."""


class Fault(ClientError):
    """The daemon's answer is that it has not done it; `detail` says why."""

    NAME: ClassVar[str] = ""

    def __init__(self, number: int, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.number = number
        self.name = name
        self.detail = detail


class NoSuchMethod(Fault):
    """This daemon has no such method: it may be older than this client."""

    NAME = "NO_SUCH_METHOD"


class BadArgument(Fault):
    """An argument is missing, of the wrong type or not allowed; nothing was done."""

    NAME = "BAD_ARGUMENT"


class BadRequest(Fault):
    """The request was not a well-formed call."""

    NAME = "BAD_REQUEST"


class Failed(Fault):
    """It failed in a way that has no name of its own."""

    NAME = "FAILED"


class Internal(Fault):
    """A bug of the daemon's; its log has more under the incident's id."""

    NAME = "INTERNAL"


class NoSuch(Fault):
    """There is no such thing."""


class NoSuchVM(NoSuch):
    """No VM has this name, UUID or MAC address."""

    NAME = "NO_SUCH_VM"


class VMExists(Fault):
    """The name is taken."""

    NAME = "VM_EXISTS"


class NoSuchImage(NoSuch):
    """The disk image is missing or cannot be read."""

    NAME = "NO_SUCH_IMAGE"


class BadImage(Fault):
    """The file is not a disk image of a known format."""

    NAME = "BAD_IMAGE"


class ImageInUse(Fault):
    """Another VM has this disk image."""

    NAME = "IMAGE_IN_USE"


class NoSuchCommand(NoSuch):
    """No command has this id, or not any more."""

    NAME = "NO_SUCH_COMMAND"


class NoSuchTransfer(NoSuch):
    """No copy has this id, or not any more."""

    NAME = "NO_SUCH_TRANSFER"


class NoSuchSnapshot(NoSuch):
    """The VM has no snapshot of this name."""

    NAME = "NO_SUCH_SNAPSHOT"


class SnapshotExists(Fault):
    """The VM has a snapshot of this name."""

    NAME = "SNAPSHOT_EXISTS"


class NoSuchTask(NoSuch):
    """No task has this id, or not any more."""

    NAME = "NO_SUCH_TASK"


class InvalidState(Fault):
    """The VM is in a state in which this makes no sense."""

    NAME = "INVALID_STATE"


class DeadlinePassed(Fault):
    """It was begun, but not reached in time; it may still come."""

    NAME = "DEADLINE_PASSED"


class Busy(Fault):
    """There is too much of it just now; worth trying again a little later."""

    NAME = "BUSY"


class HypervisorError(Fault):
    """The hypervisor refused or failed; the detail is its own text."""

    NAME = "HYPERVISOR_ERROR"


class HypervisorUnreachable(HypervisorError):
    """The hypervisor does not answer; worth trying again."""

    NAME = "HYPERVISOR_UNREACHABLE"


class Unsupported(Fault):
    """This hypervisor, or this guest's agent, cannot do it."""

    NAME = "UNSUPPORTED"


class GuestUnreachable(Fault):
    """No agent of this VM is connected, or it did not answer."""

    NAME = "GUEST_UNREACHABLE"


class TransferFailed(Fault):
    """A file could not be copied; the detail begins with a word that says why."""

    NAME = "TRANSFER_FAILED"

    @property
    def reason(self) -> str:
        """The word, such as NO_SUCH_FILE."""
        return self.detail.partition(":")[0]


class AccessDenied(Fault):
    """The caller, or the daemon's configuration, does not allow this."""

    NAME = "ACCESS_DENIED"


class BadConfig(Fault):
    """The daemon's configuration has a value that is not allowed."""

    NAME = "BAD_CONFIG"


class NotConnected(Fault):
    """The daemon has no connection to its broker right now."""

    NAME = "NOT_CONNECTED"


class ProtocolError(Fault):
    """A guest, or a broker, broke a rule of the message protocol."""

    NAME = "PROTOCOL_ERROR"


class NotStored(Fault):
    """The daemon can't write to its own disk, or read from it."""

    NAME = "NOT_STORED"


def _named(base: type[Fault]) -> dict[str, type[Fault]]:
    found = {base.NAME: base} if base.NAME else {}
    for each in base.__subclasses__():
        found |= _named(each)
    return found


BY_NAME: Final[dict[str, type[Fault]]] = _named(Fault)


def fault_of(number: int, text: str) -> Fault:
    """Make the error of a Fault that came; one of an unknown name is a Fault without a class."""
    name, colon, detail = text.partition(": ")
    if not colon or not name.replace("_", "").isalpha() or not name.isupper():
        name, detail = "FAULT", text
    return BY_NAME.get(name, Fault)(number, name, detail)
