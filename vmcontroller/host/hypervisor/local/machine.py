"""One local VM as the running daemon sees it."""

from __future__ import annotations

import contextlib
import os
import signal

from twisted.internet.defer import Deferred, DeferredLock

from vmcontroller.common.errors import InvalidState
from vmcontroller.common.process import Child, ExitWatch
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.hypervisor.local.store import AgentProcess, LocalVm
from vmcontroller.host.hypervisor.vm_state import VmState


class Machine:
    """A VM's state, and its agent's process while there is one."""

    def __init__(self, vm: LocalVm) -> None:
        self.vm = vm
        self.state = VmState.POWERED_OFF
        self.agent: AgentProcess | None = None
        self.child: Child | None = None
        """Of this daemon; None for an agent that an earlier one started, which `watch` has."""
        self.watch: ExitWatch | None = None
        self.told_login = ""
        """Whose credential its agent is told."""
        self.stopping = False
        """Its end was asked for."""
        self.resetting = False
        self.keeping = DeferredLock()
        """One thing at a time is done with its snapshots."""
        self.sweeping = False
        """What its agent left behind is being killed."""
        self._gone: list[Deferred[None]] = []

    def view(self) -> Vm:
        """Return it as the interface has it."""
        return Vm(
            uuid=self.vm.uuid,
            name=self.vm.name,
            state=self.state,
            macs=(self.vm.mac,),
            told_login=self.told_login,
        )

    def need(self, operation: str, *states: VmState) -> None:
        """Raise InvalidState unless it is in one of these states."""
        if self.state not in states:
            raise InvalidState(self.vm.name, self.state, operation, " or ".join(states))

    def signal_agent(self, number: signal.Signals) -> None:
        """Send a signal to the agent alone."""
        if self.agent is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.agent.pid, number)

    def until_gone(self) -> Deferred[None]:
        """Return what fires when its processes have been killed after the agent's end."""
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        return gone

    def release(self) -> None:
        """Tell those who wait that the processes are gone."""
        waiting, self._gone = self._gone, []
        for gone in waiting:
            gone.callback(None)

    def unwatch(self) -> None:
        """Take no more notice of the agent's end."""
        if self.watch is not None:
            self.watch.stop()
        if self.child is not None:
            self.child.unwatch()
