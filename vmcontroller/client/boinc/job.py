"""What the job file asks for. Pure.

The form is that of BOINC's wrapper and of boincvm's VMWrapper, with a part <vm>; docs/boinc.md
explains every element.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.etree.ElementTree import Element

from vmcontroller.client.boinc import safe_xml

MOST_TASKS: Final = 1000
LONGEST_CHARACTERS: Final = 8192
"""Of the text of one element."""


class BadJob(ValueError):
    """The job file can't be used; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmPart:
    """The VM that the tasks run in."""

    name: str = ""
    """'': one that is made of `image`, has a name of its own, and is removed at the end."""
    image: str | None = None
    """A logical name of the slot's, or a path of the host's; None: the VM is there already."""
    memory_mib: int = 0
    vcpus: int = 0
    """0: as the daemon's configuration says."""
    network: str = ""
    clone: bool = True
    """Whether the VM writes to an overlay of its own, and `image` may be shared by many jobs."""
    snapshot: str = ""
    """The snapshot to begin with."""
    directory: str = ""
    """Where the tasks run in the guest; '': a new one below /var/tmp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One command, what it needs and what it leaves."""

    application: str
    arguments: tuple[str, ...] = ()
    append_cmdline_args: bool = False
    """Whether the arguments that the wrapper got are added."""
    copy_app: bool = False
    stdin_filename: str = ""
    stdout_filename: str = ""
    stderr_filename: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    fraction_done_filename: str = ""
    """A file in the guest whose last line is a number from 0 to 1."""
    environment: tuple[tuple[str, str], ...] = ()
    weight: float = 1.0
    time_limit_s: float = 0.0
    retry_exit_codes: frozenset[int] = frozenset()
    """Exit codes that mean: not now, try again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All of it."""

    vm: VmPart
    tasks: tuple[Task, ...]
    checkpoint_period_s: float = 0.0
    """0: as BOINC's client says."""
    checkpoints: bool = True
    start_deadline_s: float = 300.0
    """How long the agent may take to come up."""
    notes: tuple[str, ...] = ()
    """What was in the file and is not used."""


def parse_job(data: bytes) -> Job:
    """Return the job; raises BadJob."""
    try:
        root = safe_xml.parse(data)
    except safe_xml.BadXml as error:
        raise BadJob(f"job file: {error}") from error
    if root.tag != "job_desc":
        raise BadJob(f"job file: the root is <{root.tag:.100}>, not <job_desc>")
    notes: list[str] = []
    tasks: list[Element] = []
    top: dict[str, Any] = {}
    vm: VmPart | None = None
    for element in root:
        if element.tag == "task":
            tasks.append(element)
        elif element.tag == "vm":
            vm = VmPart(**_fields(element, _VM, notes))
        elif element.tag in _JOB:
            top |= _JOB[element.tag](element)
        elif element.tag in _REFUSED:
            raise BadJob(f"<{element.tag}>: {_REFUSED[element.tag]}")
        else:
            notes.append(f"<{element.tag:.100}> is not used")
    if not 1 <= len(tasks) <= MOST_TASKS:
        raise BadJob(f"<task>: there must be 1 to {MOST_TASKS}, not {len(tasks)}")
    found = [_fields(element, _TASK, notes) for element in tasks]
    vm = _vm_of(vm, found)
    return Job(vm=vm, tasks=tuple(_task(each) for each in found), notes=tuple(notes), **top)


def fractions(job: Job) -> tuple[float, ...]:
    """Return what is done when 0, 1, … all tasks are done, by their weights: from 0 to 1."""
    total = math.fsum(task.weight for task in job.tasks)
    sums = [math.fsum(task.weight for task in job.tasks[:count]) for count in range(len(job.tasks))]
    return (*(each / total for each in sums), 1.0)


_REFUSED: Final[Mapping[str, str]] = {
    "unzip_task": "programs are run in the VM only; unpack in a <task>",
    "unzip_input": "archives are unpacked in the VM only; unpack in a <task>",
    "zip_output": "archives are made in the VM only; pack in a <task>",
}


def _text(element: Element) -> str:
    if len(element):
        raise BadJob(f"<{element.tag}>: there must be text in it, not <{element[0].tag:.100}>")
    text = (element.text or "").strip()
    if len(text) > LONGEST_CHARACTERS or "\0" in text:
        raise BadJob(f"<{element.tag}>: at most {LONGEST_CHARACTERS} characters")
    return text


def _flag(element: Element) -> bool:
    """Return true also for an empty element, as BOINC does."""
    text = _text(element)
    if text not in {"", "0", "1"}:
        raise BadJob(f"<{element.tag}>: must be 0 or 1, not {text!r:.100}")
    return text != "0"


def _number(element: Element, least: float, most: float) -> float:
    text = _text(element)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise BadJob(f"<{element.tag}>: must be a number from {least:g} to {most:g}, not {text!r}")
    return value


def _whole(element: Element, least: int, most: int) -> int:
    value = _number(element, least, most)
    if value != int(value):
        raise BadJob(f"<{element.tag}>: must be a whole number")
    return int(value)


def logical_name(element: Element) -> str:
    """Return the name of a file of the slot, and of the task's directory in the guest.

    It stays within both: no absolute path, no `..`.
    """
    text = _text(element).removeprefix("./")
    parts = text.split("/")
    if text.startswith("/") or ".." in parts or "" in parts[:-1] or "\n" in text:
        raise BadJob(f"<{element.tag}>: must be a relative path without '..', not {text!r:.100}")
    return text


def _words(element: Element) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(_text(element)))
    except ValueError as error:
        raise BadJob(f"<{element.tag}>: {error}") from error


def _setting(element: Element) -> tuple[str, str]:
    name, equals, value = _text(element).partition("=")
    if not (name and equals):
        raise BadJob("<setenv>: must be NAME=VALUE")
    return name, value


_Parser = Callable[[Element], Any]

_JOB: Final[Mapping[str, Callable[[Element], Mapping[str, Any]]]] = {
    "checkpoint_period": lambda e: {"checkpoint_period_s": _number(e, 0, 10**7)},
    "disable_automatic_checkpoints": lambda e: {"checkpoints": not _flag(e)},
    "start_deadline": lambda e: {"start_deadline_s": _number(e, 1, 10**6)},
}

_VM: Final[Mapping[str, tuple[str, _Parser]]] = {
    "name": ("name", _text),
    "image": ("image", _text),
    "memory": ("memory_mib", lambda e: _whole(e, 16, 2**24)),
    "vcpus": ("vcpus", lambda e: _whole(e, 1, 512)),
    "network": ("network", _text),
    "clone": ("clone", _flag),
    "snapshot": ("snapshot", _text),
    "directory": ("directory", _text),
}

_TASK: Final[Mapping[str, tuple[str, _Parser]]] = {
    "virtualmachine": ("virtualmachine", _text),
    "image": ("image", _text),
    "application": ("application", _text),
    "command_line": ("arguments", _words),
    "append_cmdline_args": ("append_cmdline_args", _flag),
    "copy_app": ("copy_app", _flag),
    "copy_app_to_VM": ("copy_app", _flag),
    "stdin_filename": ("stdin_filename", logical_name),
    "stdout_filename": ("stdout_filename", logical_name),
    "stderr_filename": ("stderr_filename", logical_name),
    "copy_file_to_VM": ("inputs", logical_name),
    "copy_file_from_VM": ("outputs", logical_name),
    "fraction_done_filename": ("fraction_done_filename", logical_name),
    "setenv": ("environment", _setting),
    "weight": ("weight", lambda e: _number(e, 1e-9, 1e9)),
    "time_limit": ("time_limit_s", lambda e: _number(e, 0, 10**8)),
    "retry_exit_code": ("retry_exit_codes", lambda e: _whole(e, 1, 255)),
}

_MANY: Final = frozenset({"copy_file_to_VM", "copy_file_from_VM", "setenv", "retry_exit_code"})


def _fields(
    element: Element, parsers: Mapping[str, tuple[str, _Parser]], notes: list[str]
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for child in element:
        if child.tag not in parsers:
            notes.append(f"<{child.tag:.100}> in <{element.tag}> is not used")
            continue
        field, parse = parsers[child.tag]
        value = parse(child)
        if child.tag in _MANY:
            fields.setdefault(field, []).append(value)
        else:
            fields[field] = value
    return fields


def _task(fields: Mapping[str, Any]) -> Task:
    wanted = {name: _frozen(name, value) for name, value in fields.items()}
    if not wanted.get("application"):
        raise BadJob("<application>: every <task> must have one")
    return Task(**wanted)


def _frozen(name: str, value: Any) -> Any:
    if not isinstance(value, list):
        return value
    kept = [each for each in value if each]  # an empty <copy_file_to_VM/> names no file
    return frozenset(kept) if name == "retry_exit_codes" else tuple(kept)


def _vm_of(vm: VmPart | None, tasks: Sequence[dict[str, Any]]) -> VmPart:
    """Return <vm>, or what boincvm had in each task instead of it."""
    names = {task.pop("virtualmachine", "") for task in tasks}
    images = {task.pop("image", "") for task in tasks}
    if vm is None:
        if len(names) > 1 or len(images - {""}) > 1:
            raise BadJob("<virtualmachine>: all tasks must run in the same VM")
        vm = VmPart(name=names.pop(), image=max(images) or None, clone=False)
    if not vm.name and vm.image is None:
        raise BadJob("<vm>: must have a <name>, an <image> or both")
    if vm.directory and not vm.directory.startswith("/"):
        raise BadJob("<directory>: must be an absolute path")
    return vm
