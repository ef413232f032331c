"""Whether KVM works: the judgement, the memory of it, and one run of a pretended QEMU."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.hypervisor.libvirt.boot_probe import EXIT_STATUS, boot_sector
from vmcontroller.host.hypervisor.libvirt.kvm_probe import (
    DEADLINE_S,
    KvmProbe,
    Verdict,
    command,
    remembered,
    to_remember,
    verdict_of,
)


class Process:
    """A QEMU that ends only when told to."""

    pid = None

    def __init__(self, protocol: Any, arguments: list[str]) -> None:
        self.protocol = protocol
        self.arguments = arguments
        self.signals: list[str] = []

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)
        self.protocol.processEnded(Failure(ProcessTerminated(signal=9)))

    def ends(self, status: int) -> None:
        self.protocol.processEnded(Failure(ProcessTerminated(exitCode=status)))


class SpawningClock(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[Process] = []
        self.error: OSError | None = None

    def spawnProcess(self, protocol: Any, executable: str, args: Any, env: Any) -> Process:
        if self.error is not None:
            raise self.error
        process = Process(protocol, [executable, *args])
        self.spawned.append(process)
        return process


class BootSectorTests(SynchronousTestCase):
    def test_is_a_boot_sector(self) -> None:
        """A BIOS loads it: 512 bytes with the signature at the end."""
        sector = boot_sector()
        self.assertEqual(len(sector), 512)
        self.assertEqual(sector[510:], b"\x55\xaa")

    def test_addresses_in_it(self) -> None:
        """The jump, the gate and the two table registers point at what they mean."""
        sector = boot_sector()

        def at(pattern: str) -> int:
            return 0x7C00 + sector.index(bytes.fromhex(pattern))

        long_mode, tick = at("0f011c25"), at("b02a66ba")
        jump = sector.index(0xEA)
        self.assertEqual(int.from_bytes(sector[jump + 1 : jump + 3], "little"), long_mode)
        gate = sector.index(bytes.fromhex("c7060042"))
        self.assertEqual(int.from_bytes(sector[gate + 4 : gate + 6], "little"), tick)
        self.assertEqual(sector[0xB8 + 8 : 0xB8 + 16], bytes.fromhex("00000000009a2000"))


class VerdictTests(SynchronousTestCase):
    def test_judgement(self) -> None:
        """Its own word is a yes, a passed deadline or a crash a lasting no, all else for now."""
        yes = verdict_of(EXIT_STATUS, "", timed_out=False)
        self.assertEqual((yes.works, yes.lasting), (True, True))
        slow = verdict_of(None, "", timed_out=True)
        self.assertEqual((slow.works, slow.lasting), (False, True))
        crashed = verdict_of(None, "failed to set MSR\n", timed_out=False)
        self.assertEqual((crashed.works, crashed.lasting), (False, True))
        denied = verdict_of(1, "Could not access KVM kernel module\n", timed_out=False)
        self.assertEqual((denied.works, denied.lasting), (False, False))
        self.assertIn("Could not access KVM", denied.detail)

    @given(st.booleans(), st.text(), st.text())
    def test_memory(self, works: bool, detail: str, key: str) -> None:
        """What is written is read back under its key, and under no other."""
        text = to_remember(Verdict(works=works, detail=detail), key)
        self.assertEqual(remembered(text, key), Verdict(works=works, detail=detail))
        self.assertIsNone(remembered(text, key + "x"))

    @given(st.text() | st.sampled_from(['{"key": "k", "works": 1, "detail": ""}', "[]", "{}"]))
    def test_spoilt_memory(self, text: str) -> None:
        """A file of another make is as none."""
        self.assertIsNone(remembered(text, "k"))

    def test_comma_in_a_path(self) -> None:
        """QEMU takes a comma for the end of an option unless it is doubled."""
        self.assertIn("if=floppy,format=raw,readonly=on,file=/t/a,,b", command("/q", "/t/a,b"))


class ProbeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = SpawningClock()
        self.state_dir = self.mktemp()

    def works(self, *, boot_id: str = "boot", version: int = 7) -> Any:
        probe = KvmProbe(reactor=self.clock, state_dir=self.state_dir, boot_id=boot_id)
        return ensureDeferred(probe.works("/qemu", version))

    def test_yes_is_remembered(self) -> None:
        """One good try serves until the host boots again or QEMU changes."""
        first = self.works()
        (process,) = self.clock.spawned
        self.assertIn("pc,accel=kvm", process.arguments)
        process.ends(EXIT_STATUS)
        self.assertTrue(self.successResultOf(first))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(self.successResultOf(self.works()))
        self.assertEqual(len(self.clock.spawned), 1)
        for others in ({"boot_id": "next"}, {"version": 8}):
            again = self.works(**others)
            self.assertNoResult(again)
            self.clock.spawned[-1].ends(EXIT_STATUS)
            self.assertTrue(self.successResultOf(again))
        self.assertEqual(len(self.clock.spawned), 3)

    def test_silence_is_no(self) -> None:
        """A guest that doesn't get through in time is killed, and KVM not used again."""
        answer = self.works()
        self.clock.advance(DEADLINE_S)
        self.assertFalse(self.successResultOf(answer))
        self.assertEqual(self.clock.spawned[0].signals, ["KILL"])
        self.assertFalse(self.successResultOf(self.works()))
        self.assertEqual(len(self.clock.spawned), 1)

    def test_qemu_failing_is_tried_again(self) -> None:
        """QEMU that can't start says nothing of KVM for ever."""
        for _ in range(2):
            answer = self.works()
            self.clock.spawned[-1].protocol.processEnded(Failure(ProcessDone(None)))
            self.assertFalse(self.successResultOf(answer))
        self.assertEqual(len(self.clock.spawned), 2)
        self.clock.error = FileNotFoundError(2, "No such file")
        self.assertFalse(self.successResultOf(self.works()))

    def test_nobody_waits_any_more(self) -> None:
        """A try that is cancelled leaves no QEMU behind."""
        answer = self.works()
        answer.addErrback(lambda _: None)
        answer.cancel()
        self.assertEqual(self.clock.spawned[0].signals, ["KILL"])
        self.assertFalse(os.path.exists(self.state_dir))

    def test_memory_that_cannot_be_kept(self) -> None:
        """A state directory that can't be written makes no difference to the answer."""
        with open(self.state_dir, "wb"):
            answer = self.works()
            self.clock.spawned[0].ends(EXIT_STATUS)
            self.assertTrue(self.successResultOf(answer))
