"""What is asked of libvirt, as plain blocking functions for its thread.

Each takes the connection (a `virConnect`) first. They raise our errors where the reason is
known here, and leave libvirt's own to `Link.call`.
"""

from __future__ import annotations

import os
import secrets
import uuid as uuids
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import libvirt

from vmcontroller.common.credentials import Credential
from vmcontroller.common.errors import InvalidState, NoSuchVM, VMExists
from vmcontroller.host.hypervisor.base import AgentAddress, Vm
from vmcontroller.host.hypervisor.libvirt import (
    domain_told,
    domain_view,
    domain_xml,
    host_xml,
    screen,
)
from vmcontroller.host.hypervisor.libvirt.broker_address import broker_for
from vmcontroller.host.hypervisor.libvirt.drivers import Driver
from vmcontroller.host.hypervisor.libvirt.states import vm_state
from vmcontroller.host.hypervisor.vm_state import VmState

OFF = frozenset(state for state in VmState if state.is_off)
NOT_OFF = frozenset(VmState) - OFF
RUNNING = frozenset({VmState.RUNNING})

_DEFINITION = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Every machine, and the UUIDs of those that vanish when they stop."""

    vms: tuple[Vm, ...]
    transient: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation on one machine, and the states in which it makes sense."""

    name: str
    allowed: Collection[VmState]
    act: Callable[[Any], object]
    """Gets the `virDomain`."""


def facts(connection: Any) -> tuple[host_xml.HostFacts, int]:
    """Return what machines can be had, and the hypervisor's version as a number."""
    return host_xml.host_facts(connection.getCapabilities()), int(connection.getVersion())


def listing(connection: Any, *, is_local: bool) -> Listing:
    """Read every machine; one that goes meanwhile is left out."""
    saved = _uuids(connection, libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)
    transient = _uuids(connection, libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT)
    vms = []
    for domain in connection.listAllDomains(0):
        try:
            uuid = domain.UUIDString()
            state, reason = domain.state()
            view = domain_view.parse(domain.XMLDesc(0))
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
            continue
        state_now = vm_state(state, reason, has_saved_image=uuid in saved)
        vms.append(_vm(view, state_now, is_local=is_local))
    return Listing(vms=tuple(vms), transient=transient)


def _uuids(connection: Any, flags: int) -> frozenset[str]:
    return frozenset(domain.UUIDString() for domain in connection.listAllDomains(flags))


def _vm(view: domain_view.DomainView, state: VmState, *, is_local: bool) -> Vm:
    disks = view.disks
    if is_local:
        disks = tuple(replace(disk, path=os.path.realpath(disk.path)) for disk in disks)
    return Vm(
        uuid=view.uuid,
        name=view.name,
        state=state,
        macs=view.macs,
        disks=disks,
        told_login=view.told_login,
        told_passcode=view.told_passcode,
        channel=view.channel if is_local and not state.is_off else "",
    )


def unused_mac(connection: Any) -> str:
    """Make a MAC address (QEMU's prefix, upper case) that no machine here has."""
    used = {
        mac
        for domain in connection.listAllDomains(0)
        for mac in domain_view.parse(domain.XMLDesc(0)).macs
    }
    while True:
        mac = "52:54:00:" + secrets.token_bytes(3).hex(":").upper()
        if mac not in used:
            return mac


def define(connection: Any, plan: domain_xml.DomainPlan, *, is_local: bool) -> Vm:
    """Define a machine; raises VMExists. libvirt itself does it wholly or not at all.

    Nothing is asked of libvirt afterwards: a call that failed would leave the machine behind.
    """
    if _has_name(connection, plan.name):
        raise VMExists(plan.name)
    text = domain_xml.build(plan)
    try:
        connection.defineXML(text)
    except libvirt.libvirtError as error:
        # Somebody else may have been quicker; the codes don't tell.
        if _has_name(connection, plan.name):
            raise VMExists(plan.name) from error
        raise
    return _vm(domain_view.parse(text), VmState.POWERED_OFF, is_local=is_local)


def _has_name(connection: Any, name: str) -> bool:
    try:
        connection.lookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return False
    return True


def find(connection: Any, uuid: str) -> Any:
    """Return the `virDomain` of a UUID; raises NoSuchVM."""
    try:
        octets = uuids.UUID(uuid).bytes
    except ValueError:
        raise NoSuchVM(uuid) from None
    try:
        return connection.lookupByUUID(octets)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            raise NoSuchVM(uuid) from error
        raise


def _state(domain: Any) -> VmState:
    state, reason = domain.state()
    saved = state == libvirt.VIR_DOMAIN_SHUTOFF and bool(domain.hasManagedSaveImage(0))
    return vm_state(state, reason, has_saved_image=saved)


def operate(connection: Any, uuid: str, operation: Operation) -> None:
    """Do it if the state allows; raises NoSuchVM, InvalidState.

    The state may change between the look and the act, and the drivers have different codes
    for that, so a refusal is followed by a second look.
    """
    domain = find(connection, uuid)
    _require(domain, operation)
    try:
        operation.act(domain)
    except libvirt.libvirtError as error:
        try:
            _require(domain, operation)
        except InvalidState as wrong:
            raise wrong from error
        raise


def _require(domain: Any, operation: Operation) -> None:
    state = _state(domain)
    if state not in operation.allowed:
        allowed = " or ".join(sorted(operation.allowed))
        raise InvalidState(domain.name(), state, operation.name, allowed)


def remove(driver: Driver) -> Operation:
    """Undefine, with libvirt's own files about it (saved memory, NVRAM), never its disks."""
    return Operation(
        name="remove", allowed=OFF, act=lambda domain: domain.undefineFlags(driver.undefine_flags)
    )


def shutdown(driver: Driver) -> Operation:
    """Press the guest's ACPI power button."""
    return Operation(
        name="shutdown",
        allowed=RUNNING,
        act=lambda domain: domain.shutdownFlags(driver.shutdown_flags),
    )


POWER_OFF = Operation(name="powerOff", allowed=NOT_OFF, act=lambda domain: domain.destroy())
RESET = Operation(name="reset", allowed=RUNNING, act=lambda domain: domain.reset(0))
PAUSE = Operation(name="pause", allowed=RUNNING, act=lambda domain: domain.suspend())


def start(connection: Any, agent: AgentAddress) -> Operation:
    """Activate the machine's networks, say where the broker is, power on."""

    def act(domain: Any) -> None:
        text = domain.XMLDesc(_DEFINITION)
        view = domain_view.parse(text)
        reachable: list[str] = []
        for name in view.networks:
            network = connection.networkLookupByName(name)
            activate(network)
            reachable += host_xml.network_addresses(network.XMLDesc(0))
        # A machine without a NIC reaches no address: its agent takes the channel.
        told = {domain_told.BROKER_KEY: broker_for(agent, reachable) if view.macs else ""}
        if agent.credential is not None:
            told[domain_told.CREDENTIAL_KEY] = agent.credential.written
        _redefine(connection, text, told)
        domain.create()

    return Operation(name="start", allowed=OFF, act=act)


def tell(connection: Any, credential: Credential) -> Operation:
    """Put a credential into a machine's definition."""
    told = {domain_told.CREDENTIAL_KEY: credential.written}
    return Operation(
        name="tell",
        allowed=frozenset(VmState),
        act=lambda domain: _redefine(connection, domain.XMLDesc(_DEFINITION), told),
    )


def _redefine(connection: Any, text: str, told: Mapping[str, str]) -> None:
    own = screen.with_own_console_log(text)
    changed = domain_told.with_told(own or text, told) or own
    if changed is not None:
        connection.defineXML(changed)


def activate(network: Any) -> None:
    """Start a network that is defined but inactive."""
    if network.isActive():
        return
    try:
        network.create()
    except libvirt.libvirtError:
        if not network.isActive():  # else somebody else was quicker
            raise


def guest_networks(connection: Any) -> tuple[str, ...]:
    """Return the host's addresses in the active networks, each once."""
    networks = connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)
    addresses = [
        address
        for network in networks
        for address in host_xml.network_addresses(network.XMLDesc(0))
    ]
    return tuple(dict.fromkeys(addresses))
