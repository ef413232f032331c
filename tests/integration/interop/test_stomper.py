"""stomper 0.4, which the programs of 2010 have: what it can say at all, our broker understands."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.interop.scenarios import Exchange, python_client


class StomperCase(Exchange):
    command = python_client("stomper_client")

    def test_exchange(self) -> None:
        """Messages, acknowledgements of its Engine, UNSUBSCRIBE and a receipt."""
        expected = {"got": ["one", "two\nlines", "end"], "reaction": "receipt", "receipt": "last"}
        self.assertEqual(self.outcome("exchange"), expected)


class Stomper10Tests(StomperCase, SynchronousTestCase):
    version = "1.0"


class Stomper11Tests(StomperCase, SynchronousTestCase):
    version = "1.1"
