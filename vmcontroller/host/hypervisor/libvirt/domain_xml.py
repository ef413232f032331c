"""Domain XML, built and read with an XML library. Pure: no libvirt, no files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field

from vmcontroller.common.channel import CHANNEL_NAME
from vmcontroller.host.hypervisor.base import DirectBoot, DiskImage, VmDisk

NAMESPACE = "urn:vmcontroller:domain:1"
"""Of the metadata element that marks a machine as made here."""
BROKER_KEY = "vmcontroller.broker"
"""Of the SMBIOS string that tells the agent where the broker is."""
CREDENTIAL_KEY = "vmcontroller.credential"
"""Of the SMBIOS string that tells the agent what it logs in with: LOGIN:PASSCODE."""

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
# Prefixes that libvirt itself writes, so that a rewritten definition reads as before.
ET.register_namespace("qemu", "http://libvirt.org/schemas/domain/qemu/1.0")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainView:
    """What is read from any machine's XML, also from those made by others."""

    name: str
    uuid: str
    macs: tuple[str, ...]
    disks: tuple[VmDisk, ...]
    networks: tuple[str, ...]
    """libvirt networks of its NICs, in their order, each once."""
    told_login: str = ""
    """Of the credential among its SMBIOS strings."""
    told_passcode: str = field(default="", repr=False)
    channel: str = ""
    """The socket of our agent's channel; in the definition of a machine that is off mostly empty:
    libvirt chooses it at the start."""


def _add(parent: ET.Element, tag: str, text: str = "", **attributes: str) -> ET.Element:
    child = ET.SubElement(parent, tag, attributes)
    if text:
        child.text = text
    return child


def build(plan: DomainPlan) -> str:
    """Return the definition of a new machine."""
    domain = ET.Element("domain", {"type": plan.domain_type})
    _add(domain, "name", plan.name)
    _add(domain, "uuid", plan.uuid)
    _add(_add(domain, "metadata"), f"{{{NAMESPACE}}}made-here")
    _add(domain, "memory", str(plan.memory_mib * 1024), unit="KiB")
    _add(domain, "vcpu", str(plan.vcpus))
    _add_os(domain, plan)
    _add_processor(domain, plan)
    _add(domain, "clock", offset="utc")
    _add(domain, "on_poweroff", "destroy")
    _add(domain, "on_reboot", "restart")
    _add(domain, "on_crash", "destroy")
    _add_devices(domain, plan)
    return ET.tostring(domain, encoding="unicode")


def _add_os(domain: ET.Element, plan: DomainPlan) -> None:
    # No machine type: libvirt then takes the architecture's own default (pc, virt, ...).
    os_element = _add(domain, "os")
    _add(os_element, "type", "hvm", arch=plan.arch)
    if plan.boot is None:
        _add(os_element, "boot", dev="hd")
        return
    _add(os_element, "kernel", plan.boot.kernel)
    if plan.boot.initrd:
        _add(os_element, "initrd", plan.boot.initrd)
    if plan.boot.cmdline:
        _add(os_element, "cmdline", plan.boot.cmdline)


def _add_processor(domain: ET.Element, plan: DomainPlan) -> None:
    if plan.arch in {"x86_64", "i686"}:
        features = _add(domain, "features")
        _add(features, "acpi")
        _add(features, "apic")
    # TCG's default processor lacks what today's distributions are compiled for.
    if plan.domain_type == "kvm":
        _add(domain, "cpu", mode="host-passthrough")
    elif plan.domain_type == "qemu":
        _add(domain, "cpu", mode="maximum")


def _add_devices(domain: ET.Element, plan: DomainPlan) -> None:
    devices = _add(domain, "devices")
    if plan.disk is not None:
        disk = _add(devices, "disk", type="file", device="disk")
        _add(disk, "driver", name="qemu", type=plan.disk.format)
        _add(disk, "source", file=plan.disk.path)
        _add(disk, "target", dev="vda", bus="virtio")
    if plan.network:
        nic = _add(devices, "interface", type="network")
        _add(nic, "mac", address=plan.mac.lower())
        _add(nic, "source", network=plan.network)
        _add(nic, "model", type="virtio")
    _add(devices, "controller", type="usb", model="none")
    _add(_add(devices, "serial", type="pty"), "target", port="0")
    _add(_add(devices, "console", type="pty"), "target", type="serial", port="0")
    if len(plan.name[:20].encode()) <= CHANNEL_NAME_BYTES:
        channel = _add(devices, "channel", type="unix")
        _add(channel, "source", mode="bind")
        _add(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    _add_own_channel(devices, plan)
    balloon = _add(devices, "memballoon", model="virtio")
    _add(balloon, "stats", period="5")
    rng = _add(devices, "rng", model="virtio")
    _add(rng, "backend", "/dev/urandom", model="random")


def _add_own_channel(devices: ET.Element, plan: DomainPlan) -> None:
    fits = len(plan.name[:20].encode()) <= OWN_CHANNEL_NAME_BYTES
    if not fits and plan.network:
        return
    channel = _add(devices, "channel", type="unix")
    source = _add(channel, "source", mode="bind")
    if not fits:
        source.set("path", OWN_CHANNEL_PATH.format(uuid=plan.uuid))
    _add(channel, "target", type="virtio", name=CHANNEL_NAME)


def _own_channel(domain: ET.Element) -> str:
    for channel in domain.iterfind("devices/channel[@type='unix']"):
        if channel.find(f"target[@name='{CHANNEL_NAME}']") is not None:
            source = channel.find("source")
            return "" if source is None else source.get("path", "")
    return ""


def parse(text: str) -> DomainView:
    """Read a definition as libvirt wrote it."""
    domain = ET.fromstring(text)  # noqa: S314 - libvirt's own, on a trusted connection
    disks = [
        _disk(disk)
        for disk in domain.iterfind("devices/disk")
        if disk.get("device", "disk") == "disk"
    ]
    networks = [
        source.get("network", "")
        for source in domain.iterfind("devices/interface[@type='network']/source")
    ]
    login, _, passcode = _told(domain, CREDENTIAL_KEY).partition(":")
    return DomainView(
        name=domain.findtext("name", ""),
        uuid=domain.findtext("uuid", "").lower(),
        macs=tuple(
            mac.get("address", "").upper() for mac in domain.iterfind("devices/interface/mac")
        ),
        disks=tuple(disk for disk in disks if disk.path),
        networks=tuple(dict.fromkeys(network for network in networks if network)),
        told_login=login,
        told_passcode=passcode,
        channel=_own_channel(domain),
    )


def _disk(disk: ET.Element) -> VmDisk:
    source, driver = disk.find("source"), disk.find("driver")
    path = "" if source is None else source.get("file") or source.get("dev") or ""
    return VmDisk(path=path, format="" if driver is None else driver.get("type", ""))


def _entries(strings: ET.Element, key: str) -> list[ET.Element]:
    return [
        entry for entry in strings.iterfind("entry") if (entry.text or "").startswith(f"{key}=")
    ]


def _told(domain: ET.Element, key: str) -> str:
    for strings in domain.iterfind("sysinfo[@type='smbios']/oemStrings"):
        for entry in _entries(strings, key):
            return (entry.text or "").partition("=")[2]
    return ""


def with_told(text: str, told: Mapping[str, str]) -> str | None:
    """Return the definition with `KEY=VALUE` for each of `told` among its SMBIOS strings.

    An empty value takes the key out. None when the definition says so already. All else stays,
    other strings of the table too.
    """
    domain = ET.fromstring(text)  # noqa: S314 - libvirt's own, on a trusted connection
    os_element = domain.find("os")
    if all(_told(domain, key) == value for key, value in told.items()) and (
        not any(told.values()) or _shows_sysinfo(os_element)
    ):
        return None
    for strings in domain.iterfind("sysinfo[@type='smbios']/oemStrings"):
        for entry in [entry for key in told for entry in _entries(strings, key)]:
            strings.remove(entry)
    for key, value in told.items():
        if value:
            _add(_oem_strings(domain), "entry", f"{key}={value}")
    if any(told.values()):
        if os_element is None:
            os_element = _add(domain, "os")
        smbios = os_element.find("smbios")
        if smbios is None:
            smbios = _add(os_element, "smbios")
        smbios.set("mode", "sysinfo")
    else:
        _drop_empty(domain)
    return ET.tostring(domain, encoding="unicode")


def _shows_sysinfo(os_element: ET.Element | None) -> bool:
    return os_element is not None and os_element.find("smbios[@mode='sysinfo']") is not None


def _oem_strings(domain: ET.Element) -> ET.Element:
    sysinfo = domain.find("sysinfo[@type='smbios']")
    if sysinfo is None:
        sysinfo = _add(domain, "sysinfo", type="smbios")
    strings = sysinfo.find("oemStrings")
    return _add(sysinfo, "oemStrings") if strings is None else strings


def _drop_empty(domain: ET.Element) -> None:
    """Take out a table of strings that became empty: the schema wants one at least."""
    sysinfo = domain.find("sysinfo[@type='smbios']")
    strings = None if sysinfo is None else sysinfo.find("oemStrings")
    if sysinfo is not None and strings is not None and len(strings) == 0:
        sysinfo.remove(strings)
