"""What is known of each machine, and which event or listing changes it. Pure, but remembers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import libvirt

from vmcontroller.host.hypervisor.base import Vm, VmChanged
from vmcontroller.host.hypervisor.libvirt.states import (
    event_state,
    is_restore,
    is_rollback,
    is_start_from_file,
)
from vmcontroller.host.hypervisor.vm_state import VmState


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainEvent:
    """One lifecycle event as libvirt sent it."""

    uuid: str
    name: str
    event: int
    detail: int


@dataclass(slots=True)
class _Known:
    name: str
    state: VmState
    transient: bool
    from_file: bool = False
    """The last event was its start from saved memory."""


class Tracker:
    """Turns events and listings into changes, each told once.

    Events carry all that is needed, so none costs a call. A transient machine (created by
    others, or undefined while it ran) vanishes when it stops, and libvirt sends no event of
    its own for that.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def listed(self, vms: Collection[Vm], transient: Collection[str]) -> list[VmChanged]:
        """Take a full listing; return how it differs from what was known.

        `transient` holds the UUIDs of those that vanish when they stop.
        """
        present = {vm.uuid for vm in vms}
        changes = [
            VmChanged(uuid=uuid, name=known.name, state=None)
            for uuid, known in self._known.items()
            if uuid not in present
        ]
        for change in changes:
            del self._known[change.uuid]
        for vm in vms:
            changes += self._now(vm.uuid, vm.name, vm.state, transient=vm.uuid in transient)
        return changes

    def event(self, event: DomainEvent) -> list[VmChanged]:
        """Take one event; return the change it makes, if any."""
        known = self._known.get(event.uuid)
        if event.event == libvirt.VIR_DOMAIN_EVENT_DEFINED:
            state = known.state if known else VmState.POWERED_OFF
            return self._now(event.uuid, event.name, state, transient=False)
        if event.event == libvirt.VIR_DOMAIN_EVENT_UNDEFINED:
            return self._undefined(event, known)
        state_now = event_state(event.event, event.detail)
        if state_now is None:
            return []
        transient = known.transient if known else True
        if transient and state_now.is_off:
            return self._gone(event)
        after_file = known is not None and known.from_file
        changes = self._now(
            event.uuid,
            event.name,
            state_now,
            transient=transient,
            restored=is_restore(event.event, event.detail),
            rolled_back=is_rollback(event.event, event.detail, after_file=after_file),
        )
        self._known[event.uuid].from_file = is_start_from_file(event.event, event.detail)
        return changes

    def _undefined(self, event: DomainEvent, known: _Known | None) -> list[VmChanged]:
        if event.detail == libvirt.VIR_DOMAIN_EVENT_UNDEFINED_RENAMED:
            return []  # the event that defines it under its new name follows
        if known and not known.state.is_off:
            known.transient = True
            return []
        return self._gone(event)

    def _gone(self, event: DomainEvent) -> list[VmChanged]:
        if self._known.pop(event.uuid, None) is None:
            return []
        return [VmChanged(uuid=event.uuid, name=event.name, state=None)]

    def _now(
        self,
        uuid: str,
        name: str,
        state: VmState,
        *,
        transient: bool,
        restored: bool = False,
        rolled_back: bool = False,
    ) -> list[VmChanged]:
        known = self._known.get(uuid)
        self._known[uuid] = _Known(name, state, transient)
        is_news = not known or (known.name, known.state) != (name, state)
        if not (is_news or restored or rolled_back):
            return []
        return [
            VmChanged(uuid=uuid, name=name, state=state, restored=restored, rolled_back=rolled_back)
        ]
