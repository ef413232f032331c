"""However much a guest sends, or leaves unread, the neighbour works and memory stays bounded."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterator

from tests.integration.attacks.scene import NEIGHBOUR, TAKEN, Scene, agent_pid
from tests.integration.attacks.wire import CONNECTIONS, RESPONSES, Wire, connect, frame, word
from tests.integration.daemon import DEADLINE_S, until

MIB = 1 << 20


def pour_until_cut(wire: Wire, octets: bytes) -> None:
    """Write without reading until the broker has had enough."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if not pour(wire, octets, 1):
            return
    raise AssertionError(f"not cut within {DEADLINE_S} s")


def pour(wire: Wire, octets: bytes, times: int) -> int:
    """Write as often as the broker takes it; return how often that was."""
    for number in range(times):
        try:
            wire.write(octets)
        except OSError:
            return number
    return times


class FloodTests(Scene):
    """Attack: flood, huge frames, frames that never end."""

    @contextlib.contextmanager
    def bounded_memory(self) -> Iterator[None]:
        """What is done inside costs the daemon at most what is allowed."""
        noise_kib = self.noise_kib()
        before_kib = self.rss_kib()
        yield
        self.bounded(before_kib, noise_kib)

    def test_a_huge_body_is_announced(self) -> None:
        """64 MiB of content-length are refused by the header alone."""
        with self.bounded_memory():
            wire = self.logged_in()
            headers = [("destination", RESPONSES), ("content-length", str(64 * MIB))]
            wire.write(frame("SEND", headers)[:-1])
            self.refused(wire, "body")

    def test_lengths_that_are_none(self) -> None:
        """A negative, endless or repeated length ends the connection, or is taken as it says."""
        for length in ("-1", "9" * 5000, "1e9", "0x10", "1 2", "", "+5", "٣"):
            wire = self.logged_in()
            headers = [("destination", RESPONSES), ("content-length", length)]
            wire.write(frame("SEND", headers, b"PONG"))
            self.refused(wire)

    def test_never_ending_frames(self) -> None:
        """A header line, headers and a body without an end are cut off while they come."""
        begin = b"SEND\ndestination:" + RESPONSES.encode() + b"\n"
        for first, more in (
            (b"", b"A" * MIB),
            (begin + b"x:", b"y" * MIB),
            (begin, b"a:b\n" * (MIB // 4)),
            (begin, b"\\c:\\n\n" * (MIB // 8)),
            (begin + b"\n", b"z" * MIB),
        ):
            with self.bounded_memory():
                for session in (self.logged_in(), self.wire()):
                    session.write(first)
                    pour(session, more, 8)
                    self.refused(session)

    def test_a_body_that_never_comes(self) -> None:
        """Half a frame and silence: its connection is all that waits."""
        with self.bounded_memory():
            for _ in range(60):
                wire = self.wire()  # without a session: nobody's newer one ends it
                headers = [("content-length", str(MIB))]
                wire.write(frame("CONNECT", headers)[:-1] + bytes(MIB - 1))
                wire.close()

    def test_heart_beats(self) -> None:
        """Thirty million of them are only read past."""
        with self.bounded_memory():
            wire = self.logged_in()
            self.assertEqual(pour(wire, b"\n" * MIB, 32), 32)
            self.settled(wire)

    def test_connecting_again_and_again(self) -> None:
        """A thousand connections that come and go, half of them with a session, leave nothing."""
        sockets = self.open_sockets()
        octets = connect(*self.credential_of(TAKEN))
        with self.bounded_memory():
            for number in range(1000):
                with Wire(self.port) as wire:
                    if number % 2:
                        wire.write(octets)
            self.logged_in()
        until(lambda: self.open_sockets() <= sockets + 2, "their sockets are closed")

    def test_words_without_end(self) -> None:
        """20,000 words as fast as they go: the neighbour's command is answered among them."""
        with self.bounded_memory():
            guest = self.guest()
            batch = b"".join(
                frame("SEND", [("destination", where)], word(name, fields))
                for where, name, fields in (
                    (CONNECTIONS, "STILL_ALIVE", {"session": "taken"}),
                    (RESPONSES, "AINT", {"word": "x", "detail": "y" * 100}),
                    (RESPONSES, "TELEPORT", {}),
                    (RESPONSES, "PING", None),
                )
            )
            pouring = threading.Thread(target=pour, args=(guest, batch * 50, 100))
            pouring.start()
            self.assertEqual(
                self.daemon.run(NEIGHBOUR, "echo", "among them")["out"], "among them\n"
            )
            pouring.join()
            self.settled(guest)

    def test_large_bodies_without_end(self) -> None:
        """128 MiB in frames as large as may be, of commands and copies that nobody has."""
        with self.bounded_memory():
            guest = self.guest()
            for name, headers in (("CMD_OUTPUT", "cmd-id"), ("FILE_DATA", "transfer-id")):
                body = word(name, {"stream": "stdout", "offset": 0}, bytes(MIB))
                octets = frame(
                    "SEND",
                    [
                        ("destination", RESPONSES),
                        (headers, "nobody's"),
                        ("content-length", str(len(body))),
                    ],
                    body,
                )
                self.assertEqual(pour(guest, octets, 64), 64)
            self.settled(guest)

    def test_one_that_does_not_read(self) -> None:
        """What the host would answer does not pile up: the guest is told that it is too slow."""
        with self.bounded_memory():
            guest = self.guest()
            result = word(
                "CMD_RESULT",
                {"finished": True, "exitCodeOrSignal": 0, "stdout-bytes": 0, "stderr-bytes": 0},
            )
            answered = frame(
                "SEND", [("destination", RESPONSES), ("cmd-id", "c" * 200)], result
            )  # each is answered with CMD_STORED
            pour_until_cut(guest, answered * 100)
            until(lambda: any("too slow" in line for line in self.log()), "the log says why")

    def test_one_that_reads_nothing_of_its_receipts(self) -> None:
        """Nor does what the broker itself answers."""
        with self.bounded_memory():
            wire = self.logged_in()
            octets = frame("SEND", [("destination", RESPONSES), ("receipt", "r" * 10_000)], b"x")
            pour_until_cut(wire, octets * 20)


class SilentTests(Scene):
    """Attack: a slow or silent agent blocks others."""

    def test_a_stopped_agent(self) -> None:
        """Calls about a guest that does not answer end by their own time; others do not wait."""
        agent = agent_pid(self.daemon, NEIGHBOUR)
        guest = self.guest()
        os.kill(agent, signal.SIGSTOP)
        try:
            waiting = self.api.runCmd(NEIGHBOUR, "echo", ["late"])
            self.assertIn("no PONG", self.fault(self.api.ping, NEIGHBOUR, 0.2))
            self.assertFalse(self.api.waitCmd(waiting, 0.2)["finished"])
            cmd_id = self.api.runCmd(TAKEN, "true")
            heard = guest.hear("CMD_RUN")
            self.assertEqual(heard.header("cmd-id"), cmd_id)
        finally:
            os.kill(agent, signal.SIGCONT)
        self.assertEqual(self.api.waitCmd(waiting, DEADLINE_S)["out"], "late\n")

    def test_a_guest_that_takes_its_octets_one_by_one(self) -> None:
        """Reading one octet at a time holds up nobody but itself."""
        guest = self.guest()
        for _ in range(200):
            self.api.runCmd(TAKEN, "true", ["x" * 1000])
            if select.select([guest.socket], [], [], 0)[0]:
                guest.socket.recv(1)
            self.assertEqual(self.api.listVMs().count(NEIGHBOUR), 1)

    def test_half_a_login(self) -> None:
        """Who connects and says nothing, or one octet now and then, is cut off after a while."""
        silent, dripping = self.wire(), self.wire()
        dripping.write(b"CONN")
        self.refused(silent, "no CONNECT within")
        self.refused(dripping, "no CONNECT within")
