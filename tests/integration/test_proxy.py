"""Commands and copies survive bad networks: each exact, once, or ended with a clear Fault.

The agent of a local VM reaches the broker through proxy.py, which delays, splits, merges, cuts,
swallows and repeats. VMCONTROLLER_TEST_SEED repeats a run.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import random
import signal
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.attacks.scene import agent_pid, credential, home, port_of
from tests.integration.attacks.wire import Wire
from tests.integration.daemon import DEADLINE_S, Daemon, until
from tests.integration.proxy import Merging, Proxy, delayed, split, straight

VM = "vmctest proxied"
COMMANDS, OUTPUT_BYTES, FILE_BYTES = 10, 100_000, 5_000_000
HEART_BEAT_S = 10.0
"""Of the agent; twice as long without an octet is the end of a connection."""
SEED = int(os.environ.get("VMCONTROLLER_TEST_SEED") or random.SystemRandom().randrange(2**32))

_running: list[tuple[Daemon, Proxy]] = []


def running() -> tuple[Daemon, Proxy]:
    """Return a daemon and the proxy through which its one VM's agent speaks to it."""
    if not _running:
        daemon = Daemon("local", config="guests: {gc_grace: 300}\n").start()
        atexit.register(daemon.stop)
        daemon.api.createVM(VM, "")
        daemon.api.start(VM)
        daemon.api.ping(VM, DEADLINE_S)
        port, epoch = port_of(daemon, VM), daemon.api.getGuest(VM)["epoch"]
        proxy = Proxy(port)
        atexit.register(proxy.close)
        told = home(daemon, VM) / "agent.env"
        told.write_text(told.read_text().replace(f"127.0.0.1:{port}", f"127.0.0.1:{proxy.port}"))
        kick(daemon, port)
        until(lambda: daemon.api.getGuest(VM).get("epoch", 0) > epoch, "it has come by the proxy")
        assert proxy.pairs
        _running.append((daemon, proxy))
    return _running[0]


def kick(daemon: Daemon, port: int) -> None:
    """Log in as the VM once, past the proxy: that ends the connection that its agent has."""
    with Wire(port) as wire:
        wire.log_in(*credential(daemon, VM))


class ProxyTests(SynchronousTestCase):
    """One agent, whose connection suffers."""

    def setUp(self) -> None:
        self.daemon, self.proxy = running()
        self.api = self.daemon.api
        self.dice = random.Random(f"{SEED} {self.id()}")
        self.settle()
        self.addCleanup(self.settle)
        self.epoch = self.api.getGuest(VM)["epoch"]

    def settle(self) -> None:
        """Let the connection be good again."""
        self.proxy.way = straight
        self.proxy.swallowing = False
        self.proxy.cut_after(0)
        self.api.ping(VM, DEADLINE_S)

    @contextlib.contextmanager
    def seed_shown(self) -> Iterator[None]:
        """Name the seed with what fails."""
        try:
            yield
        except AssertionError as error:
            raise AssertionError(f"VMCONTROLLER_TEST_SEED={SEED}: {error}") from error

    def begin(self) -> dict[str, bytes]:
        """Begin commands, each with output of its own; return what each has to print."""
        begun = {}
        for _ in range(COMMANDS):
            tag = self.dice.randbytes(8).hex()
            source = self.daemon.exchange / "source"
            line = (
                f'i=0; while [ $i -lt 40 ]; do printf "%02d" $i; head -c {OUTPUT_BYTES // 40 - 2}'
            )
            script = f'{line} "$0"; i=$((i+1)); done; echo {tag} >> log; exit 7'
            cmd_id = self.api.runCmd(VM, "sh", ["-c", script, self.data_path(source)])
            piece = source.read_bytes()[: OUTPUT_BYTES // 40 - 2]
            begun[cmd_id] = b"".join(b"%02d" % number + piece for number in range(40))
        return begun

    def data_path(self, source: Path) -> str:
        """Make a file of any octets that the commands print; a local VM sees the host's files."""
        if not source.exists():
            source.write_bytes(self.dice.randbytes(OUTPUT_BYTES))
        return str(source)

    def check(self, begun: dict[str, bytes]) -> None:
        """All have ended, each ran once, and all they printed is there, to the octet."""
        for cmd_id, printed in begun.items():
            result = self.api.waitCmd(cmd_id, 2 * DEADLINE_S)
            self.assertEqual((result["state"], result["exitCodeOrSignal"]), ("ended", 7), result)
            output = self.daemon.output(cmd_id, "stdout")
            self.assertEqual(_digest(output), _digest(printed), f"{len(output)} bytes")
            self.api.forgetCmd(cmd_id)
        log = self.root() / "log"
        tags = log.read_text().splitlines()
        self.assertEqual((len(tags), len(set(tags))), (COMMANDS, COMMANDS))
        log.unlink()

    def root(self) -> Path:
        """Return the directory that the VM works in."""
        return home(self.daemon, VM) / "root"

    def copy_both_ways(self) -> list[str]:
        """Copy 5 MB there and back; return the Faults. Nothing half-done is left, ever."""
        data = self.dice.randbytes(FILE_BYTES)
        sent, back = self.daemon.exchange / "sent", self.daemon.exchange / "back"
        sent.write_bytes(data)
        (self.root() / "there").unlink(missing_ok=True)
        faults = []
        for call, arguments, copy in (
            (self.api.cpFileToVM, (VM, str(sent), "there"), self.root() / "there"),
            (self.api.cpFileFromVM, (VM, str(sent), str(back)), back),
        ):
            copy.unlink(missing_ok=True)
            try:
                self.assertEqual(call(*arguments), ["", "", 0])
            except xmlrpc.client.Fault as fault:
                faults.append(fault.faultString)
                self.assertTrue(not copy.exists() or copy.read_bytes() == data, fault)
            else:
                self.assertEqual(_digest(copy.read_bytes()), _digest(data))
        for directory in (self.root(), self.daemon.exchange):
            until(lambda at=directory: not list(at.glob(".*vmcontroller-*")), "no half of a file")
        return faults

    def unbroken(self, way: Any) -> None:
        """On such a way everything arrives, over one connection."""
        with self.seed_shown():
            self.proxy.way = way
            begun = self.begin()
            self.assertEqual(self.copy_both_ways(), [])
            self.check(begun)
            self.assertEqual(self.api.getGuest(VM)["epoch"], self.epoch)

    def test_straight(self) -> None:
        """The proxy alone changes nothing."""
        self.unbroken(straight)

    def test_delayed(self) -> None:
        """Each piece comes late."""
        self.unbroken(delayed(0.003))

    def test_split(self) -> None:
        """Frames come octet by octet."""
        self.unbroken(split)

    def test_merged(self) -> None:
        """Many frames come at once."""
        self.unbroken(Merging())

    def test_cut(self) -> None:
        """The connection is cut within frames, again and again: commands and copies arrive."""
        with self.seed_shown():
            for most in (2_000, 60_000, 400_000):
                self.proxy.cut_after(self.dice.randrange(1, most))
                begun = self.begin()
                until(lambda: not self.proxy.cut_is_due, "it was cut")
                self.check(begun)
            for _ in range(3):
                self.proxy.cut_after(self.dice.randrange(1, FILE_BYTES))
                for fault in self.copy_both_ways():  # only of a copy that had not begun
                    self.assertRegex(fault, "GUEST_UNREACHABLE|NOT_CONNECTED")
                self.settle()
            self.assertGreater(self.api.getGuest(VM)["epoch"], self.epoch)

    def test_a_login_is_replayed(self) -> None:
        """Whoever repeats the octets of a login ends the older session, and then it converges."""
        with self.seed_shown():
            begun = self.begin()
            copies = [self.proxy.replay() for _ in range(3)]
            for copy in copies:
                self.addCleanup(copy.close)
            self.check(begun)
            again = f"guest {self.api.getGuest(VM)['id']} has connected again"
            self.assertIn(again, self.daemon.log.read_text())
            copies[-1].settimeout(DEADLINE_S)
            heard = b"".join(iter(lambda: copies[-1].recv(4096), b""))
            self.assertIn(b"another connection of", heard)
            self.assertEqual(self.copy_both_ways(), [])

    def test_half_open(self) -> None:
        """Octets that vanish are noticed by both sides after two heart-beats, not before one."""
        with self.seed_shown():
            begun_s = time.monotonic()
            seen = self.daemon.log.read_text().count("nothing has come from you for")
            pairs = self.proxy.pairs
            self.proxy.swallowing = True
            begun = self.begin()

            def noticed() -> bool:
                text = self.daemon.log.read_text()
                return text.count("nothing has come from you for") > seen

            until(noticed, "the broker has noticed", 2 * HEART_BEAT_S + DEADLINE_S)
            self.assertGreaterEqual(time.monotonic() - begun_s, HEART_BEAT_S)
            until(lambda: self.proxy.pairs != pairs, "the agent connects anew", DEADLINE_S)
            self.proxy.swallowing = False
            self.proxy.cut()
            self.check(begun)

    def test_suspended(self) -> None:
        """What was asked of a guest that is suspended for long is done when it goes on."""
        with self.seed_shown():
            agent = agent_pid(self.daemon, VM)
            seen = self.daemon.log.read_text().count("nothing has come from you for")
            os.kill(agent, signal.SIGSTOP)
            try:
                begun = self.begin()
                until(
                    lambda: (
                        self.daemon.log.read_text().count("nothing has come from you for") > seen
                    ),
                    "its session has ended",
                    2 * HEART_BEAT_S + DEADLINE_S,
                )
            finally:
                os.kill(agent, signal.SIGCONT)
            self.check(begun)
            self.assertEqual(self.copy_both_ways(), [])


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
