"""The definition of a new machine, built with an XML library. Pure: no libvirt, no files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from vmcontroller.common.channel import CHANNEL_NAME
from vmcontroller.host.hypervisor.libvirt.domain_told import add
from vmcontroller.host.hypervisor.libvirt.drives import PC_ARCHITECTURES, Drive
from vmcontroller.host.hypervisor.libvirt.screen import add_console, add_screen
from vmcontroller.host.hypervisor.specification import DirectBoot, DiskImage

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
    drives: tuple[Drive, ...] = ()
    network: str = ""
    """A libvirt network; with neither this nor `bridge` there is no NIC."""
    bridge: str = ""
    """A bridge of the host."""
    mac: str = ""
    boot: DirectBoot | None = None
    boot_order: tuple[str, ...] = ()
    """Of `disk`, `network` and `cdrom`."""
    is_uefi: bool = False
    description: str = ""
    console_log: str = ""
    """The file that keeps what it writes to its serial console; empty: none does."""

    @property
    def has_nic(self) -> bool:
        """Whether it is on any network."""
        return bool(self.network or self.bridge)


def build(plan: DomainPlan) -> str:
    """Return the definition of a new machine."""
    domain = ET.Element("domain", {"type": plan.domain_type})
    add(domain, "name", plan.name)
    add(domain, "uuid", plan.uuid)
    if plan.description:
        add(domain, "description", plan.description)
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
    if plan.is_uefi:
        # libvirt picks the file. Secure Boot needs another machine than the default one.
        os_element.set("firmware", "efi")
    add(os_element, "type", "hvm", arch=plan.arch)
    if plan.is_uefi:
        add(add(os_element, "firmware"), "feature", enabled="no", name="secure-boot")
    if plan.boot is None:
        return
    add(os_element, "kernel", plan.boot.kernel)
    if plan.boot.initrd:
        add(os_element, "initrd", plan.boot.initrd)
    if plan.boot.cmdline:
        add(os_element, "cmdline", plan.boot.cmdline)


def _add_processor(domain: ET.Element, plan: DomainPlan) -> None:
    if plan.arch in PC_ARCHITECTURES:
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
    for drive in plan.drives:
        _add_drive(devices, plan, drive)
    if any(drive.bus == "scsi" for drive in plan.drives):
        # libvirt's default is a controller that today's kernels have no driver for.
        add(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    if plan.has_nic:
        _add_nic(devices, plan)
    add(devices, "controller", type="usb", model="none")
    add_console(devices, plan.console_log)
    if plan.domain_type != "test":
        add_screen(devices, plan.name, is_pc=plan.arch in PC_ARCHITECTURES)
    if len(plan.name[:20].encode()) <= CHANNEL_NAME_BYTES:
        channel = add(devices, "channel", type="unix")
        add(channel, "source", mode="bind")
        add(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    _add_own_channel(devices, plan)
    balloon = add(devices, "memballoon", model="virtio")
    add(balloon, "stats", period="5")
    rng = add(devices, "rng", model="virtio")
    add(rng, "backend", "/dev/urandom", model="random")


def _add_drive(devices: ET.Element, plan: DomainPlan, drive: Drive) -> None:
    disk = add(devices, "disk", type="file", device="cdrom" if drive.is_optical else "disk")
    add(disk, "driver", name="qemu", type=drive.image.format)
    source = add(disk, "source", file=drive.image.path)
    if drive.keeps_owner:
        _keep_owner(source)
    if drive.image.base_format:
        _add_base(disk, drive.image)
    add(disk, "target", dev=drive.target, bus=drive.bus)
    if drive.read_only:
        add(disk, "readonly")
    _add_boot_order(disk, plan, drive.boot_as)


def _add_base(disk: ET.Element, image: DiskImage) -> None:
    """Name the base of an overlay: libvirt would give it to QEMU's user else."""
    base = add(disk, "backingStore", type="file")
    add(base, "format", type=image.base_format)
    _keep_owner(add(base, "source", file=image.backing[0]))
    add(base, "backingStore")


def _keep_owner(source: ET.Element) -> None:
    """Keep libvirt from making QEMU's user the owner of a file that several machines read.

    It does so unasked, and for good. Who breaks out of one guest would own what all others read.
    """
    add(source, "seclabel", model="dac", relabel="no")


def _add_nic(devices: ET.Element, plan: DomainPlan) -> None:
    if plan.bridge:
        nic = add(devices, "interface", type="bridge")
        add(nic, "source", bridge=plan.bridge)
    else:
        nic = add(devices, "interface", type="network")
        add(nic, "source", network=plan.network)
    add(nic, "mac", address=plan.mac.lower())
    add(nic, "model", type="virtio")
    _add_boot_order(nic, plan, "network")


def _add_boot_order(device: ET.Element, plan: DomainPlan, boot_as: str) -> None:
    if plan.boot is None and boot_as in plan.boot_order:
        add(device, "boot", order=str(plan.boot_order.index(boot_as) + 1))


def _add_own_channel(devices: ET.Element, plan: DomainPlan) -> None:
    fits = len(plan.name[:20].encode()) <= OWN_CHANNEL_NAME_BYTES
    if not fits and plan.has_nic:
        return
    channel = add(devices, "channel", type="unix")
    source = add(channel, "source", mode="bind")
    if not fits:
        source.set("path", OWN_CHANNEL_PATH.format(uuid=plan.uuid))
    add(channel, "target", type="virtio", name=CHANNEL_NAME)
