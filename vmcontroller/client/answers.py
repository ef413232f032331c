"""The structs that the daemon answers, as types. docs/xmlrpc-api.md says what is in them.

What a guest says of itself is its own claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

Result = TypedDict(
    "Result",
    {
        "cmd-id": str,
        "state": str,
        "out": str,
        "err": str,
        "outBytes": int,
        "errBytes": int,
        "finished": bool,
        "exitCodeOrSignal": int,
        "resources": dict[str, float],
        "error": str,
        "truncated": NotRequired[bool],
        "outTruncated": NotRequired[bool],
        "errTruncated": NotRequired[bool],
        "timedOut": NotRequired[bool],
        "duration": NotRequired[float],
    },
)
"""How a command ended, or stands."""

Details = TypedDict(
    "Details",
    {
        "cmd-id": str,
        "batch": str,
        "toVmName": str,
        "toVmId": str,
        "cmd": str,
        "args": list[str],
        "env": dict[str, str],
        "path": str,
        "fileForStdin": str,
        "options": dict[str, Any],
        "state": str,
        "pid": int,
        "created": float,
        "started": float,
        "ended": float,
        "outBytes": int,
        "errBytes": int,
        "error": str,
        "stdin": NotRequired[dict[str, Any]],
        "usage": NotRequired[dict[str, float]],
        "usageAge": NotRequired[float],
    },
)
"""What a command was asked to do, where it stands and what it uses."""


class Batch(TypedDict):
    """A command that was begun in many guests."""

    batch: str
    commands: dict[str, str]
    failed: dict[str, str]


class Transfer(TypedDict):
    """Where a copy stands."""

    id: str
    vm: str
    direction: str
    localPath: str
    remotePath: str
    options: dict[str, Any]
    state: str
    size: int
    bytes: int
    rate: float
    estimate: float
    entries: int
    started: float
    ended: float
    error: str
    resumed: int


class Guest(TypedDict):
    """What is known of a VM's guest."""

    name: str
    uuid: str
    state: str
    id: str
    connected: bool
    detail: NotRequired[str]
    since: NotRequired[float]
    lastHeard: NotRequired[float]
    silentFor: NotRequired[float]
    latency: NotRequired[float]
    load: NotRequired[float]
    version: NotRequired[str]
    protocol: NotRequired[int]
    capabilities: NotRequired[list[str]]
    hostname: NotRequired[str]
    os: NotRequired[str]
    ip: NotRequired[str]
    addresses: NotRequired[list[str]]


class Vm(TypedDict):
    """What a VM is made of."""

    name: str
    uuid: str
    state: str
    macs: list[str]
    memory: int
    vcpus: int
    disks: list[dict[str, Any]]
    network: str
    firmware: str
    description: str
    hypervisor: str
    snapshots: int


class Snapshot(TypedDict):
    """A snapshot, and those that were taken after it was."""

    name: str
    description: str
    created: float
    state: str
    parent: str
    current: bool
    children: list[Snapshot]


class Figure(TypedDict):
    """A measured value and its history, the oldest first; the real one is values / scale."""

    name: str
    object: str
    unit: str
    scale: int
    values: list[int]
    values_as_string: str


class Display(TypedDict):
    """How a VM's screen is reached."""

    kind: str
    host: str
    port: int
    socket: str
    password: str
    tls: bool


class ConsolePage(TypedDict):
    """A part of what a VM has written to its serial console."""

    data: bytes
    offset: int
    next: int
    begins: int


class Task(TypedDict):
    """A call that goes on by itself; `result` and `fault` only where it has one."""

    id: str
    method: str
    vm: str
    caller: str
    state: str
    created: float
    ended: float
    progress: float
    detail: str
    result: NotRequired[Any]
    fault: NotRequired[dict[str, Any]]


class Event(TypedDict):
    """Something that has happened."""

    number: int
    at: float
    kind: str
    vm: str
    uuid: str
    detail: dict[str, Any]


class Events(TypedDict):
    """What has happened since; `lost` says that some of it is not known any more."""

    events: list[Event]
    next: int
    lost: bool


class Identity(TypedDict):
    """Whom the daemon takes the caller for."""

    name: str
    roles: list[str]
    address: str


class EventFilter(TypedDict, total=False):
    """Which events are wanted: patterns of their kinds, and of names of VMs."""

    kinds: Sequence[str]
    vms: Sequence[str]


Options = Mapping[str, Any]
"""A struct of options; docs/xmlrpc-api.md lists them with each method."""
