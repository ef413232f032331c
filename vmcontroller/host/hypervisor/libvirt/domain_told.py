"""What the agent is told through SMBIOS, in a machine's definition. Pure: no libvirt, no files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

BROKER_KEY = "vmcontroller.broker"
"""Of the SMBIOS string that tells the agent where the broker is."""
CREDENTIAL_KEY = "vmcontroller.credential"
"""Of the SMBIOS string that tells the agent what it logs in with: LOGIN:PASSCODE."""

# Prefixes that libvirt itself writes, so that a rewritten definition reads as before.
ET.register_namespace("qemu", "http://libvirt.org/schemas/domain/qemu/1.0")


def add(parent: ET.Element, tag: str, text: str = "", **attributes: str) -> ET.Element:
    """Append a child with this text and these attributes; return it."""
    child = ET.SubElement(parent, tag, attributes)
    if text:
        child.text = text
    return child


def _entries(strings: ET.Element, key: str) -> list[ET.Element]:
    return [
        entry for entry in strings.iterfind("entry") if (entry.text or "").startswith(f"{key}=")
    ]


def told_in(domain: ET.Element, key: str) -> str:
    """Return what a definition tells the agent under `key`; empty when it tells nothing."""
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
    if all(told_in(domain, key) == value for key, value in told.items()) and (
        not any(told.values()) or _shows_sysinfo(os_element)
    ):
        return None
    for strings in domain.iterfind("sysinfo[@type='smbios']/oemStrings"):
        for entry in [entry for key in told for entry in _entries(strings, key)]:
            strings.remove(entry)
    for key, value in told.items():
        if value:
            add(_oem_strings(domain), "entry", f"{key}={value}")
    if any(told.values()):
        if os_element is None:
            os_element = add(domain, "os")
        smbios = os_element.find("smbios")
        if smbios is None:
            smbios = add(os_element, "smbios")
        smbios.set("mode", "sysinfo")
    else:
        _drop_empty(domain)
    return ET.tostring(domain, encoding="unicode")


def _shows_sysinfo(os_element: ET.Element | None) -> bool:
    return os_element is not None and os_element.find("smbios[@mode='sysinfo']") is not None


def _oem_strings(domain: ET.Element) -> ET.Element:
    sysinfo = domain.find("sysinfo[@type='smbios']")
    if sysinfo is None:
        sysinfo = add(domain, "sysinfo", type="smbios")
    strings = sysinfo.find("oemStrings")
    return add(sysinfo, "oemStrings") if strings is None else strings


def _drop_empty(domain: ET.Element) -> None:
    """Take out a table of strings that became empty: the schema wants one at least."""
    sysinfo = domain.find("sysinfo[@type='smbios']")
    strings = None if sysinfo is None else sysinfo.find("oemStrings")
    if sysinfo is not None and strings is not None and len(strings) == 0:
        sysinfo.remove(strings)
