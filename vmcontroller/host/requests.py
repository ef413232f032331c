"""What a caller asks for, as plain checked values: between the XML-RPC door and `Operations`.

Types and ranges of single values are checked by the door; here is what several of them must
keep to together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vmcontroller.common.errors import BadArgument
from vmcontroller.common.model import CommandSpec
from vmcontroller.common.words.commands import CmdRun

_PLAIN: Final = CommandSpec(cmd="")

COMMAND_MAX_BYTES: Final = 1_000_000
"""A command with all that belongs to it is one message, and those end at 1 MiB (design page)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskOptions:
    """One more disk of a new VM: the one at `path`, or one of `size_mib` that is made."""

    path: str = ""
    size_mib: int = 0
    format: str = ""
    bus: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """The options of `createVM`. Raises BadArgument when they don't go together.

    Empty strings, zeros and None are what was not given.
    """

    memory_mib: int | None = None
    """None, as for vcpus: as the configuration's `vms` says; so is an empty `network`."""
    vcpus: int | None = None
    network: str = ""
    """`nat`, `isolated`, `bridge` or `none`."""
    bridge: str = ""
    format: str = ""
    """`qcow2`, `raw` or `vmdk`; empty: what the file says it is."""
    clone: bool = False
    disk_size_mib: int = 0
    disks: tuple[DiskOptions, ...] = ()
    bus: str = ""
    cdrom: str = ""
    boot_order: tuple[str, ...] = ()
    firmware: str = ""
    kernel: str = ""
    """Boot this kernel of the host instead of what the disk holds."""
    initrd: str = ""
    cmdline: str = ""
    user_data: str = ""
    meta_data: str = ""
    network_config: str = ""
    ssh_keys: tuple[str, ...] = ()
    hostname: str = ""
    description: str = ""

    @property
    def has_seed(self) -> bool:
        """Whether there is anything to tell cloud-init."""
        return any(
            (self.user_data, self.meta_data, self.network_config, self.ssh_keys, self.hostname)
        )

    def __post_init__(self) -> None:
        for option in ("initrd", "cmdline"):
            if getattr(self, option) and not self.kernel:
                raise BadArgument(f"options.{option}", "needs options.kernel as well")
        if self.disk_size_mib and not self.clone:
            raise BadArgument(
                "options.diskSize", "needs options.clone as well: other disks stay as they are"
            )
        if self.bridge and self.network not in {"", "bridge"}:
            raise BadArgument("options.bridge", f"is given with network {self.network!r}")
        _check_boot_order(self)
        for number, disk in enumerate(self.disks):
            _check_disk(f"options.disks[{number}]", disk)


def _check_boot_order(options: CreateOptions) -> None:
    name, order = "options.bootOrder", options.boot_order
    if len(set(order)) != len(order):
        raise BadArgument(name, "names a device twice")
    if order and options.kernel:
        raise BadArgument(name, "options.kernel is given too, and that is what boots")
    if "cdrom" in order and not options.cdrom:
        raise BadArgument(name, "'cdrom' needs options.cdrom as well")
    if "network" in order and options.network == "none":
        raise BadArgument(name, "'network' is there, but options.network is 'none'")


def _check_disk(name: str, disk: DiskOptions) -> None:
    if bool(disk.path) == bool(disk.size_mib):
        raise BadArgument(
            name, "needs either the path of a disk that is there, or the size of one to be made"
        )
    if not disk.path and disk.format not in {"", "qcow2"}:
        raise BadArgument(f"{name}.format", "a disk that is made is qcow2")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of `runCmd`."""

    stdin: bytes = b""
    stdin_open: bool = False
    stdin_from_host: str = ""
    timeout_s: float = _PLAIN.timeout_s
    """0 is none."""
    kill_after_s: float = _PLAIN.kill_after_s
    user: str = ""
    group: str = ""
    umask: int = _PLAIN.umask
    nice: int = _PLAIN.nice
    replace_env: bool = False
    output_limit_bytes: int | None = None
    """None: as the configuration says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A command to be run, as it was asked for."""

    spec: CommandSpec
    stdin_from_host: str = ""
    """A file of the host that becomes its stdin, if not empty."""
    has_usual_output_limit: bool = False
    """The limit of its output is to be the configuration's."""
    roles: tuple[str, ...] = ()
    """Of the caller: what of the host may become its stdin."""


def run_request(
    *,
    cmd: str,
    args: Sequence[str],
    env: Mapping[str, str],
    path: str,
    file_for_stdin: str,
    options: RunOptions,
) -> RunRequest:
    """Put the parameters of `runCmd` together.

    Raises BadArgument where there are two sources for stdin, and for what no message can carry.
    """
    _one_stdin(file_for_stdin, options)
    spec = CommandSpec(
        cmd=cmd,
        args=tuple(args),
        env=dict(env),
        path=path,
        file_for_stdin=file_for_stdin,
        stdin=options.stdin,
        timeout_s=options.timeout_s,
        kill_after_s=options.kill_after_s,
        user=options.user,
        group=options.group,
        umask=options.umask,
        nice=options.nice,
        replace_env=options.replace_env,
        stdin_open=options.stdin_open or bool(options.stdin_from_host),
        output_limit_bytes=_PLAIN.output_limit_bytes
        if options.output_limit_bytes is None
        else options.output_limit_bytes,
    )
    size_bytes = len(CmdRun(cmd_id="", spec=spec).how_to_say().body)
    if size_bytes > COMMAND_MAX_BYTES:
        raise BadArgument(
            "runCmd",
            f"cmd, args, env and options.stdin together take {size_bytes} bytes of at most "
            f"{COMMAND_MAX_BYTES}; options.stdinFromHost and sendCmdStdin bring more",
        )
    return RunRequest(
        spec=spec,
        stdin_from_host=options.stdin_from_host,
        has_usual_output_limit=options.output_limit_bytes is None,
    )


def _one_stdin(file_for_stdin: str, options: RunOptions) -> None:
    """Let stdin come from one place; bytes may come before what is sent while it runs."""
    if file_for_stdin:
        for name, given in (
            ("stdin", options.stdin),
            ("stdinOpen", options.stdin_open),
            ("stdinFromHost", options.stdin_from_host),
        ):
            if given:
                raise BadArgument(
                    f"options.{name}", "fileForStdin is given too; only one can be stdin"
                )
    if options.stdin_from_host and options.stdin_open:
        raise BadArgument(
            "options.stdinOpen", "stdinFromHost is given too; its end is the end of stdin"
        )
