"""From what a caller wants to what libvirt is told; refuses what it can't be told. Pure."""

from __future__ import annotations

import re

from vmcontroller.common.errors import BadArgument
from vmcontroller.host.hypervisor.libvirt.domain_xml import DomainPlan
from vmcontroller.host.hypervisor.libvirt.drives import drives_of
from vmcontroller.host.hypervisor.specification import NETWORKS, VmSpec

MAX_NAME_BYTES = 200
"""libvirt names files after the machine, up to `NAME-guest_agent.log.0` and the like; a file's
name has 255 bytes at most."""

USUAL_BOOT_ORDER = ("disk", "cdrom")
"""An empty disk gives way to the disc that something is to be installed from."""

_INTERFACE = re.compile(r"(?!\.{1,2}$)[^\s/:]{1,15}")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# What XML 1.0 can't carry, and the CR that a parser turns into LF.
_NOT_XML = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")


def check_name(name: str) -> None:
    """Raise BadArgument for names that libvirt can't bear, or would not give back as they were."""
    if not name.strip():
        raise BadArgument("name", "is empty")
    if name != name.strip():
        raise BadArgument("name", f"{name!r} begins or ends with a space")
    if "/" in name or name in {".", ".."}:
        raise BadArgument("name", f"{name!r} can't be a file's name: no '/', '.' or '..'")
    if _CONTROL.search(name) or _NOT_XML.search(name):
        raise BadArgument("name", f"{name!r} has a control character in it")
    length = len(name.encode())
    if length > MAX_NAME_BYTES:
        raise BadArgument("name", f"is {length} bytes long; {MAX_NAME_BYTES} at most")


def plan(
    spec: VmSpec,
    *,
    domain_type: str,
    arch: str,
    uuid: str,
    network: str,
    mac: str,
    console_log: str = "",
) -> DomainPlan:
    """Return the plan of a new machine; raises BadArgument.

    `network` is the libvirt network behind `nat` or `isolated`, `uuid` what it gets where `spec`
    names none; `console_log` is where its console is kept, with its UUID in the place of `{uuid}`.
    """
    check_name(spec.name)
    _check_sizes(spec)
    _check_network(spec)
    _check_texts(spec)
    drives = drives_of(spec, arch)
    if not drives and spec.boot is None:
        raise BadArgument("image", "there is nothing to boot: no disk and no kernel")
    return DomainPlan(
        domain_type=domain_type,
        arch=arch,
        name=spec.name,
        uuid=spec.uuid or uuid,
        memory_mib=spec.memory_mib,
        vcpus=spec.vcpus,
        drives=drives,
        network=network if spec.network in {"nat", "isolated"} else "",
        bridge=spec.bridge if spec.network == "bridge" else "",
        mac=mac if spec.network != "none" else "",
        boot=spec.boot,
        boot_order=spec.boot_order or USUAL_BOOT_ORDER,
        is_uefi=spec.firmware == "uefi",
        description=spec.description,
        console_log=console_log.replace("{uuid}", spec.uuid or uuid),
    )


def _check_sizes(spec: VmSpec) -> None:
    if spec.memory_mib < 1:
        raise BadArgument("memory", f"{spec.memory_mib} MiB; at least 1")
    if spec.vcpus < 1:
        raise BadArgument("vcpus", f"{spec.vcpus}; at least 1")


def _check_network(spec: VmSpec) -> None:
    if spec.network not in NETWORKS:
        raise BadArgument("network", f"{spec.network!r} is not one of {', '.join(NETWORKS)}")
    if spec.network == "bridge" and not _INTERFACE.fullmatch(spec.bridge):
        raise BadArgument("bridge", f"{spec.bridge!r} can't be the name of an interface of Linux")


def _check_texts(spec: VmSpec) -> None:
    """Refuse what XML can't carry: nothing of it would come back as it was."""
    texts = {
        "image": spec.disk.path if spec.disk else "",
        "cdrom": spec.cdrom,
        "seed": spec.seed,
        "description": spec.description,
    }
    texts |= {f"disks[{number}]": disk.image.path for number, disk in enumerate(spec.disks)}
    if spec.boot is not None:
        texts |= {
            "kernel": spec.boot.kernel,
            "initrd": spec.boot.initrd,
            "cmdline": spec.boot.cmdline,
        }
    for argument, text in texts.items():
        if _NOT_XML.search(text):
            raise BadArgument(
                argument, f"{text!r:.200} has characters that libvirt's XML can't carry"
            )
