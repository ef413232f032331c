"""Whatever octets a guest prints, is given or keeps in a file: they come back equal.

Hypothesis over the real path: XML-RPC, daemon, broker, agent, processes, disk.
"""

from __future__ import annotations

import atexit
import hashlib
import xmlrpc.client

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon

VM = "vmctest any bytes"
EXAMPLES = 60
SIZES = sorted({near + off for near in (2**14, 2**16, 2**17, 2**19, 2**20) for off in (-1, 0, 1)})
"""Around what is kept in memory, read at once, and said in one frame."""
NASTY = (
    b"\x00",
    b"\n",
    b"\r\n",
    b"\x1b[31m",
    b"\xff\xfe",
    b"]]>",
    b"\xed\xa0\x80",
    b"\n\x00\n\x00",
)

octets = st.one_of(
    st.binary(max_size=2000),
    st.lists(st.sampled_from(NASTY), max_size=200).map(b"".join),
    # Many octets from a few, so that hypothesis has not to make each of them.
    st.tuples(st.binary(min_size=1, max_size=50), st.sampled_from(SIZES)).map(
        lambda drawn: (drawn[0] * (drawn[1] // len(drawn[0]) + 1))[: drawn[1]]
    ),
)
few = settings(max_examples=EXAMPLES)

_running: list[Daemon] = []


def running() -> Daemon:
    """Return a daemon with one VM."""
    if not _running:
        daemon = Daemon("local").start()
        atexit.register(daemon.stop)
        daemon.api.createVM(VM, "")
        daemon.api.start(VM)
        daemon.api.ping(VM, DEADLINE_S)
        _running.append(daemon)
    return _running[0]


class AnyBytesTests(SynchronousTestCase):
    """One guest that gives back what it gets."""

    def setUp(self) -> None:
        self.daemon = running()
        self.api = self.daemon.api
        self.source = self.daemon.exchange / "source"

    @few
    @given(octets, octets)
    def test_printed(self, out: bytes, err: bytes) -> None:
        """On stdout and stderr at once."""
        self.source.write_bytes(out)
        other = self.daemon.exchange / "other"
        other.write_bytes(err)
        script = f"cat {self.source} & cat {other} >&2; wait"
        cmd_id = self.daemon.run(VM, "sh", "-c", script)["cmd-id"]
        self.same(self.daemon.output(cmd_id, "stdout"), out)
        self.same(self.daemon.output(cmd_id, "stderr"), err)
        self.api.forgetCmd(cmd_id)

    @few
    @given(octets.filter(lambda given: len(given) <= 600_000), octets)
    def test_given_as_stdin(self, at_once: bytes, later: bytes) -> None:
        """At the start, and while it runs."""
        options = {"stdin": xmlrpc.client.Binary(at_once), "stdinOpen": True}
        cmd_id = self.api.runCmd(VM, "cat", [], {}, "", "", options)
        if later:
            self.api.sendCmdStdin(cmd_id, xmlrpc.client.Binary(later))
        self.api.closeCmdStdin(cmd_id)
        result = self.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual(result["exitCodeOrSignal"], 0, result)
        self.same(self.daemon.output(cmd_id, "stdout"), at_once + later)
        self.api.forgetCmd(cmd_id)

    @few
    @given(octets)
    def test_copied(self, held: bytes) -> None:
        """Into the guest, and out of it again."""
        self.source.write_bytes(held)
        back = self.daemon.exchange / "back"
        self.api.cpFileToVM(VM, str(self.source), "there")
        self.api.cpFileFromVM(VM, "there", str(back))
        self.same(back.read_bytes(), held)

    def same(self, found: bytes, wanted: bytes) -> None:
        """They are equal; a difference is not printed by the megabyte."""
        self.assertEqual(len(found), len(wanted))
        if found != wanted:
            self.assertEqual(hashlib.sha256(found).digest(), hashlib.sha256(wanted).digest())
