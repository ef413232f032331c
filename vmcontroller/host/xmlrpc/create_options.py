"""The options of createVM: what they are called on the wire, and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from vmcontroller.common.errors import BadArgument
from vmcontroller.host.creation.seed import (
    HOSTNAME_MAX_CHARS,
    KEY_MAX_CHARS,
    KEYS_MAX,
    META_DATA_MAX_CHARS,
    NETWORK_CONFIG_MAX_CHARS,
    USER_DATA_MAX_CHARS,
)
from vmcontroller.host.hypervisor.images import FORMATS
from vmcontroller.host.hypervisor.specification import BOOT_DEVICES, BUSES, NETWORKS
from vmcontroller.host.requests import CreateOptions, DiskOptions
from vmcontroller.host.xmlrpc.kinds import Choice, Flag, Kind, Option, Options, Text, Whole, wrong

DISKS_MAX: Final = 15
DISK_MAX_MIB: Final = 64 * 2**20
"""64 TiB, what ext4 and most others end at."""
DESCRIPTION_MAX_CHARS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """An array of values of one kind."""

    each: Kind
    most: int
    wire: str = "array"

    @property
    def allowed(self) -> str:
        return f"an array of at most {self.most}, each {self.each.allowed}"

    def check(self, name: str, given: object) -> Sequence[Any]:
        if not isinstance(given, list | tuple):
            raise wrong(name, self.allowed, given)
        if len(given) > self.most:
            raise BadArgument(name, f"must be {self.allowed}, not of {len(given)}")
        return tuple(
            self.each.check(f"{name}[{number}]", value) for number, value in enumerate(given)
        )


_BUS_DOC: Final = "`virtio` if not given"

_DISK: Final = Options(
    build=DiskOptions,
    entries=(
        Option(key="path", field="path", kind=Text(absolute=True), doc="A disk image on the host."),
        Option(
            key="size",
            field="size_mib",
            kind=Whole(least=1, most=DISK_MAX_MIB, unit="MiB"),
            doc="Of a disk that is made.",
        ),
        Option(key="format", field="format", kind=Choice(choices=FORMATS), doc="Of `path`."),
        Option(key="bus", field="bus", kind=Choice(choices=BUSES), doc=_BUS_DOC),
    ),
)

_SIZE: Final = (
    Option(
        key="memory",
        field="memory_mib",
        kind=Whole(least=16, most=16 * 2**20, unit="MiB"),
        doc="Memory in MiB; if not given, the configuration's `vms.memory_mib`.",
    ),
    Option(
        key="vcpus",
        field="vcpus",
        kind=Whole(least=1, most=512),
        doc="Virtual CPUs; if not given, the configuration's `vms.vcpus`.",
    ),
)

_NETWORK: Final = (
    Option(
        key="network",
        field="network",
        kind=Choice(choices=NETWORKS),
        doc="`nat`: on the network the hypervisor gives its guests; `isolated`: on one without a "
        "way out; `bridge`: on a bridge of the host; `none`. If not given, the configuration's "
        "`vms.network`.",
    ),
    Option(
        key="bridge",
        field="bridge",
        kind=Text(max_chars=15),
        doc="The host's bridge, with network `bridge`; if not given, the configuration's "
        "`vms.bridge`.",
    ),
)

_DISKS: Final = (
    Option(
        key="format",
        field="format",
        kind=Choice(choices=FORMATS),
        doc="The image's format; if not given, what the file says it is.",
    ),
    Option(
        key="clone",
        field="clone",
        kind=Flag(),
        doc="`image` is a base that is only read: the VM gets an overlay of its own, which "
        "removeVM removes. (On `local` its directory always is a copy.)",
    ),
    Option(
        key="diskSize",
        field="disk_size_mib",
        kind=Whole(least=1, most=DISK_MAX_MIB, unit="MiB"),
        doc="Grow the clone's disk to this size in MiB.",
    ),
    Option(
        key="disks",
        field="disks",
        kind=Several(each=_DISK, most=DISKS_MAX),
        doc="More disks: each the image at `path`, or a new one of `size` MiB, which removeVM "
        "removes.",
    ),
    Option(
        key="bus",
        field="bus",
        kind=Choice(choices=BUSES),
        doc=f"What the disks are on; {_BUS_DOC}.",
    ),
    Option(
        key="cdrom",
        field="cdrom",
        kind=Text(absolute=True),
        doc="An ISO image on the host, shown as an optical disc; other VMs may have it, too.",
    ),
)

_BOOT: Final = (
    Option(
        key="bootOrder",
        field="boot_order",
        kind=Several(each=Choice(choices=BOOT_DEVICES), most=len(BOOT_DEVICES)),
        doc="What to boot from, the first first; if not given, the disk, then the optical disc.",
    ),
    Option(
        key="firmware",
        field="firmware",
        kind=Choice(choices=("bios", "uefi")),
        doc="`bios` if not given.",
    ),
    Option(
        key="kernel",
        field="kernel",
        kind=Text(absolute=True),
        doc="Boot this kernel (a path on the host) instead of what the disk holds.",
    ),
    Option(
        key="initrd",
        field="initrd",
        kind=Text(absolute=True),
        doc="The initrd for `kernel`, a path on the host.",
    ),
    Option(
        key="cmdline",
        field="cmdline",
        kind=Text(max_chars=2048),
        doc="The kernel's command line.",
    ),
)

_SEED: Final = (
    Option(
        key="userData",
        field="user_data",
        kind=Text(max_chars=USER_DATA_MAX_CHARS),
        doc="cloud-init's user-data; begins as cloud-init wants it, with `#cloud-config` or `#!` "
        "for instance.",
    ),
    Option(
        key="metaData",
        field="meta_data",
        kind=Text(max_chars=META_DATA_MAX_CHARS),
        doc="cloud-init's meta-data, a mapping in YAML; an instance-id is added if it has none.",
    ),
    Option(
        key="networkConfig",
        field="network_config",
        kind=Text(max_chars=NETWORK_CONFIG_MAX_CHARS),
        doc="cloud-init's network-config, a mapping in YAML.",
    ),
    Option(
        key="sshKeys",
        field="ssh_keys",
        kind=Several(each=Text(max_chars=KEY_MAX_CHARS, empty=False), most=KEYS_MAX),
        doc="Public keys for the image's own user, a line of authorized_keys each.",
    ),
    Option(
        key="hostname",
        field="hostname",
        kind=Text(max_chars=HOSTNAME_MAX_CHARS),
        doc="The guest's name: letters, digits and hyphens, with dots between.",
    ),
)

CREATE_OPTIONS: Final = Options(
    build=CreateOptions,
    entries=(
        *_SIZE,
        *_NETWORK,
        *_DISKS,
        *_BOOT,
        *_SEED,
        Option(
            key="description",
            field="description",
            kind=Text(max_chars=DESCRIPTION_MAX_CHARS),
            doc="What `getVM` answers as its description.",
        ),
    ),
)
