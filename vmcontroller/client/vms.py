"""Calls: virtual machines. `vm` is always a name, a UUID or a MAC address."""

from __future__ import annotations

from typing import Any

from vmcontroller.client.answers import Options, Vm
from vmcontroller.client.caller import NOTHING, UNLIMITED, Caller


class VmCalls(Caller):
    """Virtual machines."""

    def create_vm(self, vm: str, image: str, options: Options = NOTHING) -> list[Any]:
        """Make a VM on a disk image of the host; it is off. Answers [True, name]."""
        answer: list[Any] = self.call("createVM", vm, image, options, wait_s=UNLIMITED)
        return answer

    def remove_vm(self, vm: str) -> list[Any]:
        """Remove a VM that is off; its disk image stays. Answers [True, name]."""
        answer: list[Any] = self.call("removeVM", vm, wait_s=UNLIMITED)
        return answer

    def start(self, vm: str, gui_mode: bool = False) -> bool:
        """Power a VM on; its agent comes up later: see `wait_ready`."""
        return bool(self.call("start", vm, gui_mode, wait_s=UNLIMITED))

    def shutdown(self, vm: str) -> bool:
        """Ask the guest to shut down, and wait until it has."""
        return bool(self.call("shutdown", vm, wait_s=UNLIMITED))

    def reset(self, vm: str) -> bool:
        """Restart a running VM as its reset button would."""
        return bool(self.call("reset", vm, wait_s=UNLIMITED))

    def power_off(self, vm: str) -> bool:
        """Take the power away; the guest is not asked."""
        return bool(self.call("powerOff", vm, wait_s=UNLIMITED))

    def pause(self, vm: str) -> bool:
        """Freeze a running VM; it keeps its memory."""
        return bool(self.call("pause", vm, wait_s=UNLIMITED))

    def resume(self, vm: str) -> bool:
        """Let a paused VM run on."""
        return bool(self.call("resume", vm, wait_s=UNLIMITED))

    def get_state(self, vm: str) -> str:
        """Return a VM's state as the hypervisor has it now."""
        return str(self.call("getState", vm))

    def get_vm(self, vm: str) -> Vm:
        """Return what a VM is made of."""
        answer: Vm = self.call("getVM", vm)
        return answer

    def list_vms(self) -> list[str]:
        """Return the names of all VMs."""
        answer: list[str] = self.call("listVMs")
        return answer

    def list_vms_with_state(self) -> dict[str, str]:
        """Return {name: state} of all VMs."""
        answer: dict[str, str] = self.call("listVMsWithState")
        return answer

    def list_running_vms(self) -> list[str]:
        """Return the names of the VMs that run."""
        answer: list[str] = self.call("listRunningVMs")
        return answer

    def get_ids_to_names_mapping(self) -> dict[str, str]:
        """Return {MAC address: name}."""
        answer: dict[str, str] = self.call("getIdsToNamesMapping")
        return answer

    def get_names_to_ids_mapping(self) -> dict[str, str]:
        """Return {name: MAC address}."""
        answer: dict[str, str] = self.call("getNamesToIdsMapping")
        return answer

    def states(self) -> dict[str, int]:
        """Return the states that a VM can be in."""
        answer: dict[str, int] = self.call("states")
        return answer
