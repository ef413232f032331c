"""createVM's options on the backend `local`: what makes sense there, and what is refused."""

from __future__ import annotations

import xmlrpc.client
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon


class LocalOptionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.daemon = Daemon("local", config="vms: {memory_mib: 999}\n").start()
        self.addCleanup(self.daemon.stop)
        self.api = self.daemon.api

    def test_two_of_one_directory(self) -> None:
        """Each VM has a copy of the directory; the original stays, and nothing is put beside it."""
        image = self.daemon.dir / "image"
        image.mkdir()
        (image / "file").write_text("as it was")
        for vm in ("vmctest-d one", "vmctest-d two"):
            options = {"clone": True, "description": f"this is {vm}"}
            self.assertEqual(self.api.createVM(vm, str(image), options), [True, vm])
            self.api.start(vm)
        for vm in ("vmctest-d one", "vmctest-d two"):
            self.api.ping(vm, DEADLINE_S)
            self.assertEqual(self.daemon.run(vm, "cat", "file")["out"], "as it was")
            self.daemon.run(vm, "sh", "-c", "echo changed >file")
            told = self.api.getVM(vm)
            self.assertEqual(told["description"], f"this is {vm}")
            self.assertEqual((told["memory"], told["vcpus"], told["disks"]), (0, 0, []))
            self.assertEqual((told["network"], told["hypervisor"]), ("nat", "local"))
        self.assertEqual((image / "file").read_text(), "as it was")
        self.assertEqual(list(Path(self.daemon.dir, "state", "disks").iterdir()), [])

    def test_the_description_survives(self) -> None:
        """What a VM was made with is told by the next daemon, too."""
        self.api.createVM("vmctest-d kept", "", {"description": "ü"})
        before = self.api.getVM("vmctest-d kept")
        self.daemon.terminate()
        self.daemon.start()
        self.assertEqual(self.daemon.api.getVM("vmctest-d kept"), before)
        self.api = self.daemon.api

    def test_what_makes_no_sense(self) -> None:
        """What a process can't be given is UNSUPPORTED, by the option's name."""
        for option, value in {
            "disks": [{"size": 1}],
            "bus": "virtio",
            "cdrom": "/x.iso",
            "bootOrder": ["disk"],
            "firmware": "uefi",
            "kernel": "/vmlinuz",
            "userData": "#!/bin/sh",
            "metaData": "a: b",
            "networkConfig": "version: 2",
            "sshKeys": ["ssh-rsa AAAA"],
            "hostname": "h",
            "network": "isolated",
            "format": "qcow2",
        }.items():
            error = self.assertRaises(
                xmlrpc.client.Fault, self.api.createVM, "vmctest-d no", "", {option: value}
            )
            self.assertTrue(error.faultString.startswith("UNSUPPORTED: local "), error)
            self.assertIn(option, error.faultString)
        self.assertEqual(self.api.listVMs(), [])
