"""A guest chooses no path of the host, and fills no disk of it."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import xmlrpc.client
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.integration.attacks.scene import NEIGHBOUR, TAKEN, Scene
from tests.integration.attacks.wire import Wire, fields_of
from tests.integration.daemon import DEADLINE_S, until

SIZE = 100_000
FACTS = {"size": SIZE, "mode": 0o6777, "mtime": 10**18, "credit": 0}
BYTES = bytes(range(256)) * (SIZE // 256) + bytes(SIZE % 256)
END = {"size": SIZE, "sha256": hashlib.sha256(BYTES).hexdigest()}


def tree(path: Path) -> set[str]:
    """Return all that lies below a directory."""
    return {str(each.relative_to(path)) for each in path.rglob("*")}


class CopyFromTests(Scene):
    """Attack: path traversal and symbolic links with cpFileFromVM."""

    def setUp(self) -> None:
        super().setUp()
        self.thief = self.guest()
        self.exchange = self.daemon.exchange
        self.before = tree(self.exchange)
        self.addCleanup(lambda: self.assertEqual(tree(self.exchange), self.before))

    def copying(self, remote: str, local: str) -> Any:
        """Begin cpFileFromVM in a thread; return what gives its outcome: an answer or a Fault."""
        outcome: list[Any] = []

        def copy() -> None:
            with self.daemon.new_client() as client:
                try:
                    outcome.append(client.cpFileFromVM(TAKEN, remote, local))
                except xmlrpc.client.Fault as fault:
                    outcome.append(fault.faultString)

        thread = threading.Thread(target=copy)
        thread.start()

        def joined() -> Any:
            thread.join(DEADLINE_S)
            return outcome[0]

        return joined

    def asked(self) -> dict[str, str]:
        """Return the headers with which the guest answers FILE_GET."""
        return {"transfer_id": self.thief.hear("FILE_GET").header("transfer-id") or ""}

    def test_names_in_every_word(self) -> None:
        """Paths and names that the guest puts into its words are not looked at."""
        outcome = self.copying("/tmp/x", "wanted")
        about = self.asked()
        lie = {"path": "../../stolen", "name": "/etc/passwd", "localPath": "../x"}
        self.thief.say("FILE_READY", FACTS | lie, **about)
        self.thief.say("FILE_DATA", {"offset": 0} | lie, BYTES, **about)
        self.thief.say("FILE_END", END | lie, **about)
        self.assertEqual(outcome(), ["", "", 0])
        self.assertEqual(tree(self.exchange) - self.before, {"wanted"})
        self.assertEqual((self.exchange / "wanted").read_bytes(), BYTES)
        self.assertEqual((self.exchange / "wanted").stat().st_mode & 0o7777, 0o777)
        (self.exchange / "wanted").unlink()

    def test_destinations_out_of_the_root(self) -> None:
        """Nor does a caller's path, or a link on the host, lead out of the roots."""
        outside = self.daemon.dir / "outside"
        outside.mkdir()
        self.addCleanup(outside.rmdir)
        link, dangling = self.exchange / "link", self.exchange / "dangling"
        link.symlink_to(outside)
        dangling.symlink_to(outside / "made")
        self.addCleanup(link.unlink)
        self.addCleanup(dangling.unlink)
        self.before |= {"link", "dangling"}
        self.addCleanup(self.before.difference_update, {"link", "dangling"})
        for local in ("link/x", "link/", "link", "dangling", "../x", "/etc/x", f"{outside}/x"):
            fault = self.fault(self.api.cpFileFromVM, TAKEN, "/tmp/x", local)
            self.assertIn("ACCESS_DENIED", fault, local)
        self.assertEqual(tree(outside), set())

    def test_a_link_that_comes_meanwhile(self) -> None:
        """A link that takes the destination's place while bytes come is replaced, not followed."""
        outside = self.daemon.dir / "secret"
        outside.write_text("untouched")
        outcome = self.copying("/tmp/x", "wanted")
        about = self.asked()
        self.thief.say("FILE_READY", FACTS, **about)
        self.thief.say("FILE_DATA", {"offset": 0}, BYTES, **about)
        until(lambda: tree(self.exchange) > self.before, "the bytes are taken into a file")
        (self.exchange / "wanted").symlink_to(outside)
        self.thief.say("FILE_END", END, **about)
        self.assertEqual(outcome(), ["", "", 0])
        self.assertEqual(outside.read_text(), "untouched")
        self.assertFalse((self.exchange / "wanted").is_symlink())
        (self.exchange / "wanted").unlink()
        outside.unlink()

    def broken(self, words: Iterable[tuple[str, dict[str, Any], bytes | None]]) -> str:
        """Answer a FILE_GET with these words; return the Fault that ends the copy."""
        outcome = self.copying("/tmp/x", "wanted")
        about = self.asked()
        for name, fields, payload in words:
            self.thief.say(name, fields, payload, **about)
        fault = outcome()
        self.assertIsInstance(fault, str, fault)
        self.assertNotIn("Traceback", fault)
        self.assertEqual(tree(self.exchange), self.before)
        return fault

    def test_lies_about_the_bytes(self) -> None:
        """More than announced, less, with gaps, before time, another digest.

        (Past the credit is a unit test: here the daemon may have granted more by then.)
        """
        ready = ("FILE_READY", FACTS, None)
        data = ("FILE_DATA", {"offset": 0}, BYTES)
        for reason, words in (
            ("PROTOCOL", (ready, data, ("FILE_DATA", {"offset": SIZE}, b"x"))),
            ("PROTOCOL", (ready, ("FILE_END", END, None))),
            ("PROTOCOL", (ready, data, ("FILE_END", END | {"size": SIZE + 1}, None))),
            ("PROTOCOL", (ready, ("FILE_DATA", {"offset": 1}, BYTES))),
            ("PROTOCOL", (ready, ("FILE_DATA", {"offset": 0}, b""))),
            ("PROTOCOL", (data,)),
            ("PROTOCOL", (ready, ready)),
            ("PROTOCOL", (("FILE_DONE", {}, None),)),
            ("DIGEST_MISMATCH", (ready, data, ("FILE_END", END | {"sha256": "0" * 64}, None))),
            ("DIGEST_MISMATCH", (ready, data, ("FILE_END", END | {"sha256": "../x"}, None))),
            ("IO_ERROR", (("FILE_FAILED", {"reason": "IO_ERROR", "detail": "\x1b[2J"}, None),)),
            ("PROTOCOL", (("FILE_FAILED", {"reason": "DANCE", "detail": "/etc"}, None),)),
        ):
            self.assertIn(f"TRANSFER_FAILED: {reason}", self.broken(words))

    def test_another_guests_copy(self) -> None:
        """Words about a copy with the neighbour are nobody's."""
        source = self.exchange / "source"
        source.write_bytes(BYTES)
        done = threading.Event()

        def disturb() -> None:
            while not done.is_set():
                for name in ("FILE_DONE", "FILE_FAILED"):
                    self.thief.say(name, {"reason": "IO_ERROR"}, transfer_id="x" * 32)
                time.sleep(0.01)

        disturbing = threading.Thread(target=disturb)
        disturbing.start()
        try:
            self.assertEqual(self.api.cpFileToVM(NEIGHBOUR, str(source), "copy"), ["", "", 0])
        finally:
            done.set()
            disturbing.join()
            source.unlink()


class FillTheDiskTests(Scene):
    """Attack: fill the host's disk."""

    def spool_bytes(self) -> int:
        """Return what all commands' output takes on the disk."""
        spool = self.daemon.dir / "state" / "commands"
        return sum(each.stat().st_size for each in spool.rglob("*") if each.is_file())

    def taken(self, **options: Any) -> tuple[Wire, str]:
        """Return a session and the command that it was given."""
        guest = self.guest()
        cmd_id = self.api.runCmd(TAKEN, "true", [], {}, "", "", options)
        while guest.hear("CMD_RUN").header("cmd-id") != cmd_id:
            pass
        self.addCleanup(self.end, guest, cmd_id)
        return guest, cmd_id

    def end(self, guest: Wire, cmd_id: str) -> None:
        guest.say("AINT", {"word": "CMD_RUN", "detail": "", "about": cmd_id})
        self.api.waitCmd(cmd_id, DEADLINE_S)
        self.api.forgetCmd(cmd_id)

    def test_output_without_end(self) -> None:
        """No more of a command's output is kept than it was allowed, however much comes."""
        before = self.spool_bytes()
        guest, cmd_id = self.taken(output_limit=100_000)
        piece = os.urandom(1 << 20)
        for stream in ("stdout", "stderr"):
            for number in range(32):
                fields = {"stream": stream, "offset": number << 20}
                guest.say("CMD_OUTPUT", fields, piece, cmd_id=cmd_id)
        for _ in range(100):
            guest.say("CMD_OUTPUT", {"stream": "stdout", "offset": 0}, piece[:5000], cmd_id=cmd_id)
        self.settled(guest)
        self.assertLessEqual(self.spool_bytes() - before, 200_000)
        self.assertEqual(self.api.getCmdDetails(cmd_id)["outBytes"], 100_000)

    def test_output_of_what_is_not_its_own(self) -> None:
        """Output of the neighbour's command, of none, or under a path for an id, is dropped."""
        before = self.spool_bytes()
        theirs = self.api.runCmd(NEIGHBOUR, "sleep", ["1000"], {}, "", "", {"timeout": 2})
        guest = self.guest()
        state = tree(self.daemon.dir / "state" / "commands")
        for cmd_id in (theirs, "none", "../../../stolen", "/tmp/stolen", f"{theirs}/../x"):
            for offset in (0, 2**62):
                fields = {"stream": "stdout", "offset": offset}
                guest.say("CMD_OUTPUT", fields, bytes(1 << 20), cmd_id=cmd_id)
        self.settled(guest)
        self.assertEqual(self.spool_bytes(), before)
        self.assertEqual(tree(self.daemon.dir / "state" / "commands"), state)
        self.assertEqual(self.api.waitCmd(theirs, DEADLINE_S)["outBytes"], 0)

    def test_results_that_lie(self) -> None:
        """A result that speaks of more output than came is not believed, and stores nothing."""
        guest, cmd_id = self.taken(output_limit=1000)
        for count in (1, 2**62):
            guest.say(
                "CMD_RESULT",
                {
                    "finished": True,
                    "exitCodeOrSignal": 0,
                    "stdout-bytes": count,
                    "stderr-bytes": 0,
                },
                cmd_id=cmd_id,
            )
        self.assertEqual(fields_of(guest.hear("AINT"))["word"], "STILL_ALIVE")
        self.settled(guest)
        self.assertNotEqual(self.api.getCmdResults(cmd_id)["state"], "ended")

    def test_a_copy_larger_than_the_disk(self) -> None:
        """A file that would leave no reserve is refused before its first byte."""
        guest = self.guest()
        exchange = self.daemon.exchange
        before = tree(exchange)
        answers: list[str] = []

        def copy() -> None:
            with self.daemon.new_client() as client:
                try:
                    client.cpFileFromVM(TAKEN, "/x", "huge")
                except xmlrpc.client.Fault as fault:
                    answers.append(fault.faultString)

        copying = threading.Thread(target=copy)
        copying.start()
        about = {"transfer_id": guest.hear("FILE_GET").header("transfer-id") or ""}
        guest.say("FILE_READY", FACTS | {"size": 2**62}, **about)
        copying.join()
        self.assertIn("DISK_FULL", answers[0])
        until(lambda: tree(exchange) == before, "nothing of it is left")
