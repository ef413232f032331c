"""The audit log: whole lines, in order, none lost, none forged."""

import json
import os
import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import ConfigError
from vmcontroller.host.callers import Caller
from vmcontroller.host.door.audit_log import (
    GATHER_S,
    REFUSALS_AT_ONCE,
    RETRY_S,
    UNFINISHED,
    WAITING_MOST,
    AuditLog,
)
from vmcontroller.host.xmlrpc.gate import Peer

ALICE = Caller(name="alice", roles=frozenset(), address="127.0.0.1:9", reason="ticket 7")
PEER = Peer(key="192.0.2.9", address="192.0.2.9:1000")


class AuditCase(SynchronousTestCase):
    def setUp(self):
        self.path = Path(self.mktemp()).resolve()
        self.clock = Clock()
        self.threads = lambda work, *arguments: succeed(work(*arguments))
        self.log = AuditLog(
            str(self.path),
            in_thread=lambda *work: self.threads(*work),  # noqa: PLW0108 - tests change it
            clock=self.clock,
            wall_s=lambda: 1_000_000_000.25,
        )
        self.log.open()

    def lines(self):
        self.clock.advance(GATHER_S)
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def close(self):
        self.successResultOf(Deferred.fromCoroutine(self.log.close()))


class LineTests(AuditCase):
    def test_a_line(self):
        """When, who, from where, what, with which arguments, how it ended, how long, and why."""
        call = self.log.begins(ALICE, "start", {"vm": "a"})
        self.clock.advance(1.5)
        call.ends("ok")
        call.ends("again")
        self.assertEqual(
            self.lines(),
            [
                {
                    "at": "2001-09-09T01:46:40.250Z",
                    "who": "alice",
                    "from": "127.0.0.1:9",
                    "method": "start",
                    "arguments": {"vm": "a"},
                    "result": "ok",
                    "duration": 1.5,
                    "reason": "ticket 7",
                }
            ],
        )
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    @given(st.text(st.characters(exclude_categories=())))
    def test_none_is_forged(self, text):
        """Whatever text comes, a line is one line of ASCII, and says that text."""
        self.path.write_text("")
        caller = Caller(name=text, roles=frozenset(), reason=text)
        self.log.begins(caller, text, {text: text}).ends(text)
        self.clock.advance(GATHER_S)
        octets = self.path.read_bytes()
        self.assertEqual(octets.count(b"\n"), 1)
        self.assertTrue(octets.isascii() and octets.endswith(b"\n"))
        self.assertEqual(json.loads(octets)["method"], text)

    def test_refusals_have_a_rate(self):
        """Who is refused again and again writes a few lines, and the next says how many weren't."""
        for _ in range(1000):
            self.log.refused(PEER, "x", "401 Unauthorized")
        self.assertEqual(len(self.lines()), REFUSALS_AT_ONCE)
        self.log.refused(Peer(key="other", address="other:1"), "", "421")
        self.assertEqual(len(self.lines()), REFUSALS_AT_ONCE + 1)
        self.clock.advance(60)
        self.log.refused(PEER, "x", "401 Unauthorized")
        self.assertEqual(self.lines()[-1]["left-out"], 1000 - REFUSALS_AT_ONCE)


class DiskTests(AuditCase):
    def test_while_it_writes(self):
        """What comes while a batch is written is written after it, in order."""
        slow = []

        def later(work, *arguments):
            slow.append((Deferred(), work, arguments))
            return slow[-1][0]

        self.threads = later
        for number in range(5):
            self.log.begins(ALICE, str(number), {}).ends("ok")
        self.clock.advance(GATHER_S)
        self.log.begins(ALICE, "5", {}).ends("ok")
        self.assertEqual(len(slow), 1)  # five lines in one, and none while that is written
        while slow:
            done, work, arguments = slow.pop(0)
            done.callback(work(*arguments))
            self.clock.advance(GATHER_S)
        self.assertEqual([line["method"] for line in self.lines()], list("012345"))

    def test_a_full_disk(self):
        """Lines wait for a disk that can't be written to, and are tried again; the log says so."""
        threads, self.threads = self.threads, lambda *_: fail(OSError(28, "No space left"))
        for number in range(3):
            self.log.begins(ALICE, str(number), {}).ends("ok")
        self.assertEqual(self.lines(), [])
        self.threads = threads
        self.clock.advance(RETRY_S)
        self.assertEqual([line["method"] for line in self.lines()], list("012"))

    def test_half_a_line(self):
        """What a disk took half of before it was full is taken back: no line is cut in two."""
        self.log.begins(ALICE, "whole", {}).ends("ok")
        self.clock.advance(GATHER_S)
        write, left = os.write, [20]

        def almost_full(descriptor, octets):
            if not left[0]:
                raise OSError(28, "No space left")
            taken = write(descriptor, bytes(octets)[: left[0]])
            left[0] -= taken
            return taken

        patched = self.patch(os, "write", almost_full)
        self.log.begins(ALICE, "halved", {}).ends("ok")
        self.assertEqual([line["method"] for line in self.lines()], ["whole"])
        patched.restore()
        self.clock.advance(RETRY_S)
        self.assertEqual([line["method"] for line in self.lines()], ["whole", "halved"])

    def test_bounded(self):
        """More lines than can wait are lost, not memory."""
        threads, self.threads = self.threads, lambda *_: fail(OSError(28, "No space left"))
        self.log.begins(ALICE, "first", {}).ends("ok")
        self.log._lines.extend(["{}\n"] * WAITING_MOST)
        self.log.begins(ALICE, "lost", {}).ends("ok")
        self.threads = threads
        self.clock.advance(RETRY_S)
        self.assertEqual(len(self.lines()), WAITING_MOST + 1)
        self.assertNotIn("lost", self.path.read_text())

    def test_rotated(self):
        """When somebody moves the file away a new one is begun, without being told."""
        self.log.begins(ALICE, "old", {}).ends("ok")
        self.clock.advance(GATHER_S)
        self.path.rename(self.path.with_suffix(".1"))
        self.log.begins(ALICE, "new", {}).ends("ok")
        self.assertEqual([line["method"] for line in self.lines()], ["new"])

    def test_a_link(self):
        """A symbolic link in its place is not followed."""
        other = Path(self.mktemp()).resolve()
        os.symlink("/etc/passwd", other)
        log = AuditLog(str(other), in_thread=self.threads, clock=self.clock, wall_s=lambda: 0)
        self.assertIn("cannot be written", str(self.assertRaises(ConfigError, log.open)))


class CloseTests(AuditCase):
    def test_nothing_is_lost(self):
        """All that was said is there when the log is closed, also what came during a batch."""
        slow = Deferred()
        threads = self.threads
        first = self.log.begins(ALICE, "first", {})
        batches = []
        self.threads = lambda *work: batches.append(work) or slow
        first.ends("ok")
        self.log.begins(ALICE, "second", {}).ends("ok")
        closing = Deferred.fromCoroutine(self.log.close())
        self.assertNoResult(closing)
        self.threads = threads
        work, *arguments = batches[0]
        slow.callback(work(*arguments))
        self.successResultOf(closing)
        self.assertEqual([line["method"] for line in self.lines()], ["first", "second"])

    def test_what_was_under_way(self):
        """A call that had not ended is there, too, and its late end changes nothing."""
        call = self.log.begins(ALICE, "start", {})
        self.close()
        call.ends("ok")
        self.assertEqual([line["result"] for line in self.lines()], [UNFINISHED])

    def test_a_disk_that_stays_full(self):
        """It doesn't keep the daemon from ending."""
        self.threads = lambda *_: fail(OSError(28, "No space left"))
        self.log.begins(ALICE, "x", {}).ends("ok")
        closing = Deferred.fromCoroutine(self.log.close())
        self.clock.advance(RETRY_S)
        self.successResultOf(closing)
