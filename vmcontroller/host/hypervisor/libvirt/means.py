"""What is asked of libvirt about the means of a machine: blocking functions for its thread."""

from __future__ import annotations

from typing import Any

import libvirt

from vmcontroller.common.errors import HypervisorError
from vmcontroller.host.hypervisor.base import VmDetails
from vmcontroller.host.hypervisor.libvirt import calls, domain_view, host_xml
from vmcontroller.host.hypervisor.libvirt.errors import BACKEND
from vmcontroller.host.hypervisor.libvirt.networks import is_isolated, isolated_network


def describe(connection: Any, uuid: str, *, nat: str, isolated: str) -> VmDetails:
    """Return what a machine was made with; `nat` and `isolated` are the networks behind these."""
    return domain_view.details(
        calls.find(connection, uuid).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE),
        nat=nat,
        isolated=isolated,
    )


def has_uefi(connection: Any, facts: host_xml.HostFacts, domain_type: str) -> bool:
    """Tell whether the host has a UEFI for new machines."""
    emulator = facts.emulators[domain_type]
    return host_xml.offers_uefi(
        connection.getDomainCapabilities(emulator, facts.arch, None, domain_type)
    )


def make_isolated(connection: Any, name: str, subnet: str) -> None:
    """Define and start the network without a way out, unless it is there.

    Raises HypervisorError when a network of that name leads somewhere.
    """
    try:
        network = connection.networkLookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
            raise
        network = connection.networkDefineXML(isolated_network(name, subnet))
    if not is_isolated(network.XMLDesc(0)):
        raise HypervisorError(
            BACKEND,
            f"the network {name!r} of hypervisor.isolated_network has a way out: it forwards",
        )
    calls.activate(network)
