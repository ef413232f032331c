"""A guest that lies of what it has of a copy, of holes, and of directories nobody asked for."""

from __future__ import annotations

import hashlib
import threading
import xmlrpc.client
from typing import Any

from tests.integration.attacks.scene import TAKEN, Scene
from tests.integration.attacks.wire import Wire
from tests.integration.daemon import DEADLINE_S, until

SIZE = 20 * 2**20
FACTS = {"size": SIZE, "mode": 0o644, "mtime": 10**18, "credit": 0}


class ResumingTests(Scene):
    """Attack: resumed copies and files with holes."""

    def setUp(self) -> None:
        super().setUp()
        self.exchange = self.daemon.exchange
        self.before = set(self.exchange.iterdir())

    def new_guest(self, epoch: int) -> Wire:
        return self.guest(protocol=3, epoch=epoch, capabilities=["files"])

    def call(self, method: str, *arguments: str) -> Any:
        """Begin a copy in a thread; return what gives its Fault."""
        outcome: list[str] = []

        def copy() -> None:
            with self.daemon.new_client() as client:
                try:
                    outcome.append(str(getattr(client, method)(TAKEN, *arguments)))
                except xmlrpc.client.Fault as fault:
                    outcome.append(fault.faultString)

        thread = threading.Thread(target=copy)
        thread.start()

        def joined() -> str:
            thread.join(DEADLINE_S)
            return outcome[0]

        return joined

    def nothing_left(self) -> None:
        until(lambda: set(self.exchange.iterdir()) == self.before, "nothing of it is left")
        self.assertNotIn("Traceback", self.daemon.log.read_text())

    def test_lies_about_what_there_is(self) -> None:
        """What a guest says that it has is checked by its digest, and all is sent from 0."""
        source = self.exchange / "source"
        source.write_bytes(bytes(SIZE))
        self.addCleanup(source.unlink)
        self.before.add(source)
        guest = self.new_guest(1)
        outcome = self.call("cpFileToVM", "source", "/there")
        for epoch, have, digest in ((2, SIZE, "0" * 64), (3, 2**62, "x"), (4, 1, "../../x")):
            put = guest.hear("FILE_PUT")
            about = {"transfer_id": put.header("transfer-id") or ""}
            fields = {**FACTS, "have": have, "have-sha256": digest, "credit": have + 100}
            guest.say("FILE_READY", fields, **about)
            data = guest.hear("FILE_DATA")
            self.assertIn(b'"offset":0', data.body.split(b"\n")[0])
            guest = self.new_guest(epoch)
        about = {"transfer_id": guest.hear("FILE_PUT").header("transfer-id") or ""}
        guest.say("FILE_FAILED", {"reason": "IO_ERROR", "detail": ""}, **about)
        self.assertIn("IO_ERROR", outcome())
        self.nothing_left()

    def test_lies_about_holes(self) -> None:
        """No hole is longer than the file, none comes where it may not, none is without end."""
        guest = self.new_guest(1)
        for fields, hole in (
            (FACTS, {"offset": 0, "length": SIZE + 1}),
            (FACTS, {"offset": 0, "length": 2**63 - 1}),
            (FACTS, {"offset": 2**63 - 1, "length": 2**63 - 1}),
            (FACTS, {"offset": 0, "length": 0}),
            ({**FACTS, "size": 2**63 - 1, "data": 0}, {"offset": 0, "length": 2**63 - 1}),
            ({**FACTS, "tree": True}, {"offset": 0, "length": 1}),
        ):
            outcome = self.call("cpFileFromVM", "/x", "wanted")
            about = {"transfer_id": guest.hear("FILE_GET").header("transfer-id") or ""}
            guest.say("FILE_READY", fields, **about)
            guest.say("FILE_HOLE", hole, **about)
            self.assertIn("TRANSFER_FAILED", outcome())
            self.nothing_left()

    def test_goes_on_with_other_bytes(self) -> None:
        """A copy that goes on with bytes of something else is no copy."""
        guest = self.new_guest(1)
        outcome = self.call("cpFileFromVM", "/x", "wanted")
        about = {"transfer_id": guest.hear("FILE_GET").header("transfer-id") or ""}
        guest.say("FILE_READY", FACTS, **about)
        guest.say("FILE_DATA", {"offset": 0}, bytes(100_000), **about)
        until(
            lambda: any(p.stat().st_size == 100_000 for p in self.exchange.iterdir()),
            "the bytes are taken",
        )
        guest = self.new_guest(2)
        guest.hear("FILE_GET")
        guest.say("FILE_READY", {**FACTS, "have": 100_000}, **about)
        guest.say("FILE_HOLE", {"offset": 100_000, "length": SIZE - 100_000}, **about)
        digest = hashlib.sha256(b"\1" * SIZE).hexdigest()
        guest.say("FILE_END", {"size": SIZE, "sha256": digest}, **about)
        self.assertIn("DIGEST_MISMATCH", outcome())
        self.nothing_left()
