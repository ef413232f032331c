"""What getVM answers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.hypervisor.base import Vm, VmDetails, VmDisk
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.vm_answers import vm_answer


class VmAnswerTests(SynchronousTestCase):
    def test_get_vm(self) -> None:
        """The answer has what is promised, and tells made disks from given ones."""
        made, given = VmDisk(path="/made", format="qcow2", bus="scsi"), VmDisk(path="/given")
        self.assertEqual(
            vm_answer(
                Vm(uuid="u", name="n", state=VmState.SAVED, macs=("52:54:00:00:00:01",)),
                VmDetails(
                    memory_mib=1,
                    vcpus=2,
                    network="nat",
                    firmware="bios",
                    description="d",
                    disks=(made, given),
                ),
                hypervisor="h",
                made=("/made",),
                snapshots=3,
            ),
            {
                "name": "n",
                "uuid": "u",
                "state": "Saved",
                "macs": ["52:54:00:00:00:01"],
                "memory": 1,
                "vcpus": 2,
                "disks": [
                    {
                        "path": "/made",
                        "format": "qcow2",
                        "bus": "scsi",
                        "made": True,
                        "readOnly": False,
                    },
                    {"path": "/given", "format": "", "bus": "", "made": False, "readOnly": False},
                ],
                "network": "nat",
                "firmware": "bios",
                "description": "d",
                "hypervisor": "h",
                "snapshots": 3,
            },
        )
