"""@stomp/stompjs in Node.js, over TCP, with STOMP 1.1 and 1.2."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.interop.scenarios import (
    HERE,
    REPO,
    Basics,
    HeartBeats,
    IndividualAcknowledgements,
    Transactions,
)

MODULES = REPO / ".cache" / "interop" / "node_modules"
"""scripts/test installs it there."""


class StompJs(Basics, IndividualAcknowledgements, Transactions, HeartBeats):
    command = ("env", f"NODE_MODULES={MODULES}", "node", str(HERE / "stompjs_client.mjs"))

    def test_receipts(self) -> None:
        """As above; it numbers the receipts itself."""
        self.assertEqual(self.outcome("receipt"), {"receipts": ["r-1", "bye"]})


class StompJs11Tests(StompJs, SynchronousTestCase):
    version = "1.1"


class StompJs12Tests(StompJs, SynchronousTestCase):
    version = "1.2"
