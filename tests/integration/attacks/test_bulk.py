"""A guest's second connection gives it nothing that the first one does not."""

from __future__ import annotations

import threading
import time

from tests.integration.attacks.scene import NEIGHBOUR, TAKEN, Scene, topic_of
from tests.integration.attacks.wire import CONNECTIONS, REQUESTS, RESPONSES, Wire, connect
from tests.integration.daemon import until

BULK = "/topic/vmcontroller_bulk"


class SecondConnectionTests(Scene):
    """Attack: use the connection for bulk to hear, say or take more than a guest may."""

    def bulk(self) -> Wire:
        """Return a connection for bulk with the VM's true credential, as far as that comes."""
        wire = self.wire()
        login, passcode = self.credential_of(TAKEN)
        marked = {"vmcontroller-connection": "bulk"}
        wire.write(connect(login, passcode, **marked))
        return wire

    def bulk_topic(self, guest: str) -> str:
        """Return the bulk topic of a guest."""
        return topic_of(guest).replace(REQUESTS, BULK)

    def joined(self) -> Wire:
        """Return a connection for bulk that the broker has taken."""
        wire = self.bulk()
        self.assertEqual(wire.frame().command, "CONNECTED")
        return wire

    def test_without_the_first(self) -> None:
        """Alone it is refused; a session of the test before may still be closing."""
        until(
            lambda: "comes second, not alone" in (self.bulk().frame().header("message") or ""),
            "it is refused",
        )

    def test_others_topics(self) -> None:
        """It hears its own bulk topic; neither words nor another guest's bytes."""
        for destination in (
            topic_of(self.own_id),
            REQUESTS,
            self.bulk_topic(self.neighbours_id),
            f"{BULK}.*",
            f"{BULK}.#",
            f"{BULK}.>",
            BULK,
            RESPONSES,
            CONNECTIONS,
        ):
            self.guest()
            wire = self.joined()
            wire.subscribe(destination)
            self.refused(wire, "may not subscribe")

    def test_speaking_elsewhere(self) -> None:
        """It answers where copies are answered: no presence, nothing to others."""
        for destination in (
            CONNECTIONS,
            REQUESTS,
            topic_of(self.neighbours_id),
            self.bulk_topic(self.neighbours_id),
            self.bulk_topic(self.own_id),
        ):
            self.guest()
            wire = self.joined()
            wire.send(destination, b"FILE_DATA {}", transfer_id="x")
            self.refused(wire, "may not send")

    def test_two_of_them(self) -> None:
        """The newer ends the older; the session for words stays, and nobody has two."""
        guest = self.guest()
        older = self.joined()
        newer = self.joined()
        self.refused(older, "another connection of")
        newer.subscribe(self.bulk_topic(self.own_id))
        self.assertEqual(newer.frame().command, "RECEIPT")
        self.assertEqual(self.api.getBrokerStats()["roles"]["bulk"], 1)
        self.settled(guest)

    def test_as_another(self) -> None:
        """What it sends is its own guest's, whatever it writes as `from`."""
        guest = self.guest()
        wire = self.joined()
        wire.send(RESPONSES, b"HELLO", **{"from": self.neighbours_id})
        wire.send(RESPONSES, b"FILE_FAILED", **{"from": self.neighbours_id, "transfer-id": "x"})
        self.settled(guest)

    def test_flooding_with_bytes_of_no_copy(self) -> None:
        """Nobody asked for them: they are dropped, the daemon keeps none, neighbours go on."""
        noise_kib, before_kib = self.noise_kib(), self.rss_kib()
        self.guest()
        wire = self.joined()
        stop = threading.Event()

        def flood() -> None:
            body = b'FILE_DATA {"offset":0}\n' + bytes(1 << 20)
            try:
                while not stop.is_set():
                    wire.send(RESPONSES, body, transfer_id="none")
            except OSError:
                return

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            slowest_s = 0.0
            for _ in range(50):
                begun_s = time.monotonic()
                self.daemon.run(NEIGHBOUR, "echo", "well")
                slowest_s = max(slowest_s, time.monotonic() - begun_s)
        finally:
            stop.set()
            wire.close()
            thread.join()
        self.assertLess(slowest_s, 10)
        self.bounded(before_kib, noise_kib)
