"""The definition of a new machine, built with an XML library. Pure: no libvirt, no files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from vmcontroller.common.channel import CHANNEL_NAME
from vmcontroller.host.hypervisor.base import DirectBoot, DiskImage
from vmcontroller.host.hypervisor.libvirt.domain_told import add

NAMESPACE = "urn:vmcontroller:domain:1"
"""Of the metadata element that marks a machine as made here."""

CHANNEL_NAME_BYTES = 32
"""libvirt puts 20 characters of the name, and an id, into the path of the socket of QEMU's guest
agent, and a socket's path has 107 bytes (measured with libvirt 9.0: a start is refused with 40).
A machine whose name needs more has no such channel; our own agent doesn't use it."""
OWN_CHANNEL_NAME_BYTES = CHANNEL_NAME_BYTES - (len(CHANNEL_NAME) - len("org.qemu.guest_agent.0"))
"""The same for our own agent's channel. Where the name needs more, the socket has a path of its own
if the machine has no network, and is left out otherwise."""
OWN_CHANNEL_PATH = "/run/libvirt/qemu/vmcontroller-{uuid}"
"""libvirtd binds the socket, so its own directory will do (measured with libvirt 9.0)."""

ET.register_namespace("vmcontroller", NAMESPACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainPlan:
    """All that decides the XML of a new machine."""

    domain_type: str
    """`kvm`, `qemu` or `test`."""
    arch: str
    name: str
    uuid: str
    memory_mib: int
    vcpus: int
    disk: DiskImage | None
    network: str = ""
    """A libvirt network; empty is no NIC."""
    mac: str = ""
    boot: DirectBoot | None = None


def build(plan: DomainPlan) -> str:
    """Return the definition of a new machine."""
    domain = ET.Element("domain", {"type": plan.domain_type})
    add(domain, "name", plan.name)
    add(domain, "uuid", plan.uuid)
    add(add(domain, "metadata"), f"{{{NAMESPACE}}}made-here")
    add(domain, "memory", str(plan.memory_mib * 1024), unit="KiB")
    add(domain, "vcpu", str(plan.vcpus))
    _add_os(domain, plan)
    _add_processor(domain, plan)
    add(domain, "clock", offset="utc")
    add(domain, "on_poweroff", "destroy")
    add(domain, "on_reboot", "restart")
    add(domain, "on_crash", "destroy")
    _add_devices(domain, plan)
    return ET.tostring(domain, encoding="unicode")


def _add_os(domain: ET.Element, plan: DomainPlan) -> None:
    # No machine type: libvirt then takes the architecture's own default (pc, virt, ...).
    os_element = add(domain, "os")
    add(os_element, "type", "hvm", arch=plan.arch)
    if plan.boot is None:
        add(os_element, "boot", dev="hd")
        return
    add(os_element, "kernel", plan.boot.kernel)
    if plan.boot.initrd:
        add(os_element, "initrd", plan.boot.initrd)
    if plan.boot.cmdline:
        add(os_element, "cmdline", plan.boot.cmdline)


def _add_processor(domain: ET.Element, plan: DomainPlan) -> None:
    if plan.arch in {"x86_64", "i686"}:
        features = add(domain, "features")
        add(features, "acpi")
        add(features, "apic")
    # TCG's default processor lacks what today's distributions are compiled for.
    if plan.domain_type == "kvm":
        add(domain, "cpu", mode="host-passthrough")
    elif plan.domain_type == "qemu":
        add(domain, "cpu", mode="maximum")


def _add_devices(domain: ET.Element, plan: DomainPlan) -> None:
    devices = add(domain, "devices")
    if plan.disk is not None:
        disk = add(devices, "disk", type="file", device="disk")
        add(disk, "driver", name="qemu", type=plan.disk.format)
        add(disk, "source", file=plan.disk.path)
        add(disk, "target", dev="vda", bus="virtio")
    if plan.network:
        nic = add(devices, "interface", type="network")
        add(nic, "mac", address=plan.mac.lower())
        add(nic, "source", network=plan.network)
        add(nic, "model", type="virtio")
    add(devices, "controller", type="usb", model="none")
    add(add(devices, "serial", type="pty"), "target", port="0")
    add(add(devices, "console", type="pty"), "target", type="serial", port="0")
    if len(plan.name[:20].encode()) <= CHANNEL_NAME_BYTES:
        channel = add(devices, "channel", type="unix")
        add(channel, "source", mode="bind")
        add(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    _add_own_channel(devices, plan)
    balloon = add(devices, "memballoon", model="virtio")
    add(balloon, "stats", period="5")
    rng = add(devices, "rng", model="virtio")
    add(rng, "backend", "/dev/urandom", model="random")


def _add_own_channel(devices: ET.Element, plan: DomainPlan) -> None:
    fits = len(plan.name[:20].encode()) <= OWN_CHANNEL_NAME_BYTES
    if not fits and plan.network:
        return
    channel = add(devices, "channel", type="unix")
    source = add(channel, "source", mode="bind")
    if not fits:
        source.set("path", OWN_CHANNEL_PATH.format(uuid=plan.uuid))
    add(channel, "target", type="virtio", name=CHANNEL_NAME)
