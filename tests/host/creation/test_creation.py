"""Making and removing VMs with their files: all or nothing, and nothing that is not ours."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes.hypervisor import FakeHypervisor
from tests.host.wiring import at_once, creation_of, run_program
from vmcontroller.common.config import VmsConfig
from vmcontroller.common.errors import (
    BadArgument,
    BadImage,
    HypervisorError,
    InvalidState,
    NoSuchImage,
    NoSuchVM,
    Unsupported,
    VMControllerError,
)
from vmcontroller.common.spawning import StartFailed, StartProblem
from vmcontroller.host.creation.creation import Creation
from vmcontroller.host.creation.made_files import RECORD, Stage
from vmcontroller.host.creation.programs import Ended
from vmcontroller.host.hypervisor.base import AgentAddress, Capability, Vm, VmDisk
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.requests import CreateOptions, DiskOptions


class DiskHypervisor(FakeHypervisor):
    """A fake of those whose VMs are made from disk images."""

    capabilities = frozenset(Capability)


class CreationCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.hypervisor = DiskHypervisor()
        self.now(self.hypervisor.open(lambda _: None))
        self.disks = Path(self.mktemp()).resolve()
        self.creation = creation_of(self.hypervisor, str(self.disks), memory_mib=256, vcpus=3)
        self.base = str(self.disks.with_suffix(".base"))
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", self.base, str(5 * 2**20)], check=True
        )
        os.chmod(self.base, 0o644)

    def now(self, coroutine):
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def create(self, image: str | None = None, **options: object) -> Vm:
        if image is None:
            image, options = self.base, {"clone": True, **options}
        wanted = CreateOptions(**options)  # type: ignore[arg-type]
        name = f"vm {len(self.hypervisor.world)}"
        return self.now(self.creation.create(name, image, wanted, self.listed()))

    def listed(self) -> tuple[Vm, ...]:
        return tuple(self.hypervisor.world.values())

    def refused(self, error: type[VMControllerError], image: str | None = None, **options: object):
        """Return the error, after which nothing is there."""
        image, options = (
            (self.base, {"clone": True, **options}) if image is None else (image, options)
        )
        before = self.kept()
        failed = Deferred.fromCoroutine(
            self.creation.create("vm", image, CreateOptions(**options), self.listed())  # type: ignore[arg-type]
        )
        result = self.failureResultOf(failed, error).value
        self.assertEqual((self.hypervisor.world, self.kept()), ({}, before))
        return result

    def kept(self) -> list[str]:
        return sorted(str(path.relative_to(self.disks)) for path in self.disks.rglob("*"))

    def with_program(self, run) -> None:
        """Let another program be run than qemu-img."""
        self.creation = Creation(
            hypervisor=self.hypervisor,
            in_thread=at_once,
            run_program=run,
            directory=self.disks,
            defaults=VmsConfig(),
        )


class CreatingTests(CreationCase):
    def test_defaults(self) -> None:
        """What isn't said is as the configuration has it; what is said holds."""
        spec = self.hypervisor.specs[self.create().uuid]
        self.assertEqual((spec.memory_mib, spec.vcpus, spec.network), (256, 3, "nat"))
        spec = self.hypervisor.specs[self.create(memory_mib=64, vcpus=1, network="none").uuid]
        self.assertEqual((spec.memory_mib, spec.vcpus, spec.network), (64, 1, "none"))

    def test_default_bridge(self) -> None:
        """The configuration's bridge belongs to network bridge, by default or by an option."""
        self.creation = creation_of(self.hypervisor, self.mktemp(), network="bridge", bridge="br0")
        self.assertEqual(self.hypervisor.specs[self.create().uuid].bridge, "br0")
        self.assertEqual(self.hypervisor.specs[self.create(bridge="br1").uuid].bridge, "br1")
        nat = self.hypervisor.specs[self.create(network="nat").uuid]
        self.assertEqual((nat.network, nat.bridge), ("nat", ""))

    def test_networks_that_contradict(self) -> None:
        """What the configuration's network can't be is told like what an option can't."""
        self.assertEqual(self.refused(BadArgument, network="bridge").name, "options.bridge")
        self.assertEqual(self.refused(BadArgument, bridge="br0").name, "options.bridge")
        self.creation = creation_of(self.hypervisor, self.mktemp(), network="none")
        error = self.failureResultOf(
            Deferred.fromCoroutine(
                self.creation.create("vm", self.base, CreateOptions(boot_order=("network",)), ())
            ),
            BadArgument,
        ).value
        self.assertEqual(error.name, "options.bootOrder")

    def test_clone(self) -> None:
        """A clone is an overlay whose base is named with its format, and stays as it was."""
        content = hashlib.sha256(Path(self.base).read_bytes()).digest()
        vm = self.create(disk_size_mib=7)
        spec = self.hypervisor.specs[vm.uuid]
        assert spec.disk is not None
        self.assertEqual(spec.disk.path, str(self.disks / vm.uuid / "disk.qcow2"))
        self.assertEqual((spec.disk.backing, spec.disk.base_format), ((self.base,), "qcow2"))
        told = subprocess.run(
            ["qemu-img", "info", spec.disk.path], capture_output=True, text=True, check=True
        ).stdout
        self.assertIn("virtual size: 7 MiB", told)
        self.assertIn("backing file format: qcow2", told)
        self.assertEqual(hashlib.sha256(Path(self.base).read_bytes()).digest(), content)
        self.assertEqual(stat.S_IMODE((self.disks / vm.uuid).stat().st_mode), 0o711)

    def test_a_private_base(self) -> None:
        """Of a base that not everybody may read, libvirt must make QEMU's user the owner."""
        os.chmod(self.base, 0o600)
        disk = self.hypervisor.specs[self.create().uuid].disk
        assert disk is not None
        self.assertEqual(disk.base_format, "")

    def test_all_that_is_made(self) -> None:
        """Disks and the seed are in the VM's directory, and getVM's `made` are these."""
        vm = self.create(
            disks=(DiskOptions(size_mib=1), DiskOptions(size_mib=2, bus="ide")), hostname="h"
        )
        home = self.disks / vm.uuid
        names = ["disk.qcow2", "disk-2.qcow2", "disk-3.qcow2", "seed.iso"]
        self.assertEqual(self.now(self.creation.made(vm.uuid)), tuple(str(home / n) for n in names))
        spec = self.hypervisor.specs[vm.uuid]
        self.assertEqual(spec.seed, str(home / "seed.iso"))
        self.assertEqual([disk.bus for disk in spec.disks], ["", "ide"])
        self.assertEqual(stat.S_IMODE((home / "seed.iso").stat().st_mode), 0o600)
        self.assertEqual(self.now(self.creation.made("no uuid")), ())

    def test_without_an_image(self) -> None:
        """A VM may begin with an empty disk and a disc, or a kernel; else it needs an image."""
        self.create("", disks=(DiskOptions(size_mib=1),))
        self.hypervisor.world.clear()
        self.refused(NoSuchImage, "")
        self.refused(NoSuchImage, "", clone=True, kernel=self.base)
        self.refused(NoSuchImage, "relative.qcow2")
        self.refused(NoSuchImage, self.base, kernel="/no/such/kernel")
        self.refused(NoSuchImage, self.base, kernel="/")
        self.refused(NoSuchImage, self.base, kernel="/k\x00")

    def test_refused(self) -> None:
        """What can't be had is refused before a file is made."""
        self.assertEqual(self.refused(BadArgument, disk_size_mib=4).name, "options.diskSize")
        self.refused(BadImage, cdrom=self.base)
        self.refused(NoSuchImage, cdrom="/no/such.iso")
        self.refused(BadArgument, hostname="a b")

    def test_refused_by_the_hypervisor(self) -> None:
        """What was made for a VM that the hypervisor refuses goes with it."""

        async def refuse(_spec):
            self.assertTrue(list(self.disks.rglob("disk.qcow2")))
            raise HypervisorError("fake", "no")

        self.hypervisor.create = refuse
        self.refused(HypervisorError, disks=(DiskOptions(size_mib=1),), user_data="#!/bin/sh")

    def test_programs_that_fail(self) -> None:
        """A missing qemu-img is told with its package, and what it says of a failure is told."""

        async def missing(_argv, _deadline_s):
            raise StartFailed(StartProblem.NOT_FOUND, "qemu-img")

        async def broken(_argv, _deadline_s):
            raise StartFailed(StartProblem.NO_MEANS, "no memory")

        async def failing(argv, deadline_s):
            await run_program(argv, deadline_s)
            return Ended(succeeded=False, said="disk full")

        self.with_program(missing)
        self.assertIn("qemu-utils", str(self.refused(Unsupported)))
        self.with_program(broken)
        self.assertIn("no memory", str(self.refused(HypervisorError)))
        self.with_program(failing)
        self.assertIn("disk full", str(self.refused(HypervisorError)))

    def test_without_pycdlib(self) -> None:
        """Where what writes seeds isn't installed, that and the extra are told."""
        name = "vmcontroller.host.creation.seed_image"
        self.addCleanup(sys.modules.__setitem__, name, importlib.import_module(name))
        sys.modules[name] = None  # type: ignore[assignment]  # what import takes for missing
        self.assertIn("vmcontroller[libvirt]", str(self.refused(Unsupported, hostname="h")))

    def test_no_room(self) -> None:
        """A directory that can't be written to is one clear error."""
        shutil.rmtree(self.disks)
        self.disks.write_text("in the way")
        failed = Deferred.fromCoroutine(
            self.creation.create("vm", self.base, CreateOptions(clone=True), ())
        )
        self.failureResultOf(failed, HypervisorError)
        self.assertEqual(self.hypervisor.world, {})

    def test_full_disk(self) -> None:
        """When not even the record can be written, its directory goes, too."""

        def full(_descriptor):
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        self.assertIn("No space left", str(self.refused(HypervisorError)))

    def test_no_notes(self) -> None:
        """A VM that is there stays, though that could not be noted; the next sweep does that."""
        vm = self.create()

        def full(_descriptor):
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        self.now(self.creation._mark(vm.uuid, Stage.MADE))
        self.now(self.creation.sweep(self.listed()))
        self.assertIn(vm.uuid, self.kept())

    def test_cancelled(self) -> None:
        """A call that is given up half way leaves nothing."""
        waiting: Deferred[Ended] = Deferred()

        async def hang(argv, deadline_s):
            await run_program(argv, deadline_s)
            return await waiting

        self.with_program(hang)
        call = Deferred.fromCoroutine(
            self.creation.create("vm", self.base, CreateOptions(clone=True), ())
        )
        self.assertNotEqual(self.kept(), [])
        call.cancel()
        self.failureResultOf(call, CancelledError)
        self.assertEqual(self.kept(), [])

    def test_what_a_hypervisor_cannot_do(self) -> None:
        """Every option is refused by its name where the capability isn't there."""
        bare = FakeHypervisor()
        bare.capabilities = frozenset()
        self.now(bare.open(lambda _: None))
        creation = creation_of(bare, self.mktemp())
        for name, options in {
            "format": {"format": "raw"},
            "kernel": {"kernel": "/k"},
            "clone": {"clone": True},
            "diskSize": {"clone": True, "disk_size_mib": 1},
            "disks": {"disks": (DiskOptions(size_mib=1),)},
            "bus": {"bus": "virtio"},
            "cdrom": {"cdrom": "/c"},
            "bootOrder": {"boot_order": ("disk",)},
            "firmware": {"firmware": "bios"},
            "userData": {"user_data": "#!"},
            "metaData": {"meta_data": "a: b"},
            "networkConfig": {"network_config": "a: b"},
            "sshKeys": {"ssh_keys": ("k",)},
            "hostname": {"hostname": "h"},
            "bridge": {"bridge": "br0"},
            "isolated": {"network": "isolated"},
        }.items():
            failed = Deferred.fromCoroutine(
                creation.create("vm", "", CreateOptions(**options), ())  # type: ignore[arg-type]
            )
            self.assertIn(name, str(self.failureResultOf(failed, Unsupported).value))
        self.assertEqual(bare.world, {})

    def test_hypervisor_elsewhere(self) -> None:
        """Where what is made can't be reached, disks can be given, but not made."""
        self.hypervisor.capabilities -= {Capability.CLONES, Capability.SEEDS}
        self.create(self.base)
        self.hypervisor.world.clear()
        self.refused(Unsupported)
        self.refused(Unsupported, self.base, hostname="h")
        self.refused(Unsupported, "", disks=(DiskOptions(size_mib=1),))


class RemovingTests(CreationCase):
    def remove(self, vm: Vm) -> None:
        self.now(self.creation.remove(vm, self.listed()))

    def test_removes_what_it_made(self) -> None:
        """The VM's own files go, the base and given disks stay."""
        given = self.base + ".given"
        shutil.copyfile(self.base, given)
        vm = self.create(disks=(DiskOptions(path=given), DiskOptions(size_mib=1)), hostname="h")
        self.remove(vm)
        self.assertEqual((self.hypervisor.world, self.kept()), ({}, []))
        self.assertTrue(os.path.exists(given))
        self.assertTrue(os.path.exists(self.base))

    def test_plain_vm(self) -> None:
        """A VM for which nothing was made is just removed."""
        self.remove(self.create(self.base))
        self.assertEqual(self.hypervisor.world, {})
        self.assertTrue(os.path.exists(self.base))

    def test_refused(self) -> None:
        """The disks of a VM that runs stay, whatever was tried, and over the next start."""
        vm = self.create()
        before = self.kept()
        self.now(self.hypervisor.start(vm.uuid, AgentAddress()))
        failed = Deferred.fromCoroutine(self.creation.remove(vm, self.listed()))
        self.failureResultOf(failed, InvalidState)
        self.hypervisor.world.clear()  # others remove it
        self.now(self.creation.sweep(self.listed()))
        self.assertEqual(self.kept(), before)

    def test_gone_meanwhile(self) -> None:
        """A VM that went while it was to be removed leaves no files either."""
        vm = self.create()
        self.hypervisor.world.clear()
        self.failureResultOf(Deferred.fromCoroutine(self.creation.remove(vm, ())), NoSuchVM)
        self.assertEqual(self.kept(), [])

    def test_files_that_another_vm_has(self) -> None:
        """A disk that somebody has given to another VM since is not taken from it."""
        vm = self.create(disks=(DiskOptions(size_mib=1),))
        theirs = str(self.disks / vm.uuid / "disk-2.qcow2")
        other = Vm(
            uuid="other",
            name="other",
            state=VmState.POWERED_OFF,
            disks=(VmDisk(path=theirs, format="qcow2"),),
        )
        self.now(self.creation.remove(vm, (*self.listed(), other)))
        self.assertEqual(self.kept(), [vm.uuid, f"{vm.uuid}/disk-2.qcow2", f"{vm.uuid}/{RECORD}"])


class SweepingTests(CreationCase):
    def test_half_made(self) -> None:
        """Files whose VM never came to be go; those of other VMs and of others stay."""
        vm = self.create()
        kept = self.kept()
        (self.disks / "README").write_text("not ours")
        stranger = self.disks / "5d3a7e1c-0000-4000-8000-000000000001"
        stranger.mkdir()
        (stranger / "disk.qcow2").write_text("not ours either")
        half = self.creation._files
        half.begin("5d3a7e1c-0000-4000-8000-000000000002", "half", ["disk.qcow2", "seed.iso"])
        Path(half.path("5d3a7e1c-0000-4000-8000-000000000002", "disk.qcow2")).write_text("x")
        (self.disks / "5d3a7e1c-0000-4000-8000-000000000003").mkdir()  # killed even earlier
        self.now(self.creation.sweep(self.listed()))
        self.assertEqual(
            self.kept(), sorted([*kept, "README", stranger.name, f"{stranger.name}/disk.qcow2"])
        )
        self.assertIn(vm.uuid, self.kept())

    def test_made_but_not_noted(self) -> None:
        """A VM that came to be before the daemon was killed keeps its files."""
        vm = self.create()
        self.creation._files.mark(vm.uuid, "making")
        kept = self.kept()
        for _ in range(2):
            self.now(self.creation.sweep(self.listed()))
            self.assertEqual(self.kept(), kept)
        self.hypervisor.world.clear()  # by others, later: the record knows that it was made
        self.now(self.creation.sweep(()))
        self.assertEqual(self.kept(), kept)

    def test_half_removed(self) -> None:
        """Files of a VM whose removal was under way go when it is gone, and stay when it isn't."""
        vm = self.create()
        self.creation._files.mark(vm.uuid, "removing")
        self.now(self.creation.sweep(self.listed()))
        self.assertNotEqual(self.kept(), [])
        self.creation._files.mark(vm.uuid, "removing")
        self.now(self.creation.sweep(()))
        self.assertEqual(self.kept(), [])

    def test_another_hypervisor(self) -> None:
        """A daemon that drives another hypervisor now knows none of these VMs: they are left."""
        vm = self.create()
        self.creation._files.mark(vm.uuid, "making")
        kept = self.kept()
        self.hypervisor.name = "other"
        self.with_program(run_program)
        self.now(self.creation.sweep(()))
        self.assertEqual(self.kept(), kept)

    def test_records_that_are_none(self) -> None:
        """A record that is damaged, or names files elsewhere, removes nothing."""
        outside = self.disks.with_suffix(".outside")
        outside.write_text("not ours")
        home = self.disks / "5d3a7e1c-0000-4000-8000-000000000001"
        home.mkdir()
        for text in (
            "",
            "[]",
            '{"uuid": 1}',
            self.record(home.name, f"../../{outside.name}"),
            self.record("5d3a7e1c-0000-4000-8000-000000000009", "x"),
        ):
            (home / RECORD).write_text(text)
            self.now(self.creation.sweep(()))
            self.assertEqual(self.kept(), [home.name, f"{home.name}/{RECORD}"])
        self.assertEqual(outside.read_text(), "not ours")

    def record(self, uuid: str, file: str) -> str:
        return json.dumps(
            {"uuid": uuid, "vm": "x", "hypervisor": "fake", "stage": "making", "files": [file]}
        )

    def test_no_directory(self) -> None:
        """A directory that can't be looked through stops nothing."""
        shutil.rmtree(self.disks)
        self.now(self.creation.sweep(()))
