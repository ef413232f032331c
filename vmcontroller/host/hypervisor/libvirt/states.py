"""libvirt's states, reasons and events in the words of the interface. Pure."""

from __future__ import annotations

import libvirt

from vmcontroller.host.hypervisor.vm_state import VmState

_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: VmState.UNKNOWN,
    libvirt.VIR_DOMAIN_RUNNING: VmState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: VmState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: VmState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: VmState.STOPPING,
    libvirt.VIR_DOMAIN_SHUTOFF: VmState.POWERED_OFF,
    libvirt.VIR_DOMAIN_CRASHED: VmState.ABORTED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: VmState.PAUSED,
}
_PAUSED_FOR = {
    libvirt.VIR_DOMAIN_PAUSED_SAVE: VmState.SAVING,
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: VmState.STARTING,
    libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN: VmState.STOPPING,
}
_OFF_BECAUSE = {
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: VmState.ABORTED,
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: VmState.ABORTED,
}

_EVENTS = {
    libvirt.VIR_DOMAIN_EVENT_STARTED: VmState.RUNNING,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: VmState.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_RESUMED: VmState.RUNNING,
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: VmState.STOPPING,
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: VmState.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_CRASHED: VmState.ABORTED,
}
_STOPPED_BECAUSE = {
    libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: VmState.ABORTED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: VmState.ABORTED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED: VmState.SAVED,
}

_ROLLS_BACK = {
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT),
    (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_FROM_SNAPSHOT),
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT),
}
_RESTORES = {
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_RESTORED),
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT),
    (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT),
    (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_RESTORED),
    (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_FROM_SNAPSHOT),
}


def is_restore(event: int, detail: int) -> bool:
    """Tell whether a lifecycle event says that a machine's memory was put back."""
    return (event, detail) in _RESTORES


def is_start_from_file(event: int, detail: int) -> bool:
    """Tell whether a machine was started from its saved memory."""
    return (event, detail) == (
        libvirt.VIR_DOMAIN_EVENT_STARTED,
        libvirt.VIR_DOMAIN_EVENT_STARTED_RESTORED,
    )


def is_rollback(event: int, detail: int, *, after_file: bool) -> bool:
    """Tell whether a lifecycle event says that a machine goes back to a snapshot.

    Right after a start from saved memory (`after_file`) libvirt says "from a snapshot" of that.
    """
    if event == libvirt.VIR_DOMAIN_EVENT_RESUMED:
        return detail == libvirt.VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT and not after_file
    return (event, detail) in _ROLLS_BACK


def vm_state(state: int, reason: int, *, has_saved_image: bool = False) -> VmState:
    """Map what `virDomain.state()` answers; unknown numbers are UNKNOWN.

    A machine that is off with a managed save image is SAVED whatever ended it last: its next
    start restores the image. libvirt forgets the reason when its daemon restarts, so an
    ABORTED machine is POWERED_OFF after that.
    """
    if state == libvirt.VIR_DOMAIN_PAUSED:
        return _PAUSED_FOR.get(reason, VmState.PAUSED)
    if state == libvirt.VIR_DOMAIN_SHUTOFF:
        if has_saved_image:
            return VmState.SAVED
        return _OFF_BECAUSE.get(reason, VmState.POWERED_OFF)
    return _STATES.get(state, VmState.UNKNOWN)


def event_state(event: int, detail: int) -> VmState | None:
    """Return the state that a lifecycle event announces; None when it announces none."""
    if event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
        return _STOPPED_BECAUSE.get(detail, VmState.POWERED_OFF)
    return _EVENTS.get(event)
