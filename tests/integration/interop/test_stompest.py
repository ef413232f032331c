"""stompest, in each version of the protocol that it speaks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.interop.scenarios import (
    Acknowledgements,
    Basics,
    HeartBeats,
    IndividualAcknowledgements,
    Transactions,
    python_client,
)


class Stompest10Tests(Basics, Acknowledgements, Transactions, SynchronousTestCase):
    command = python_client("stompest_client")
    version = "1.0"


class Stompest11Tests(
    Basics, IndividualAcknowledgements, Transactions, HeartBeats, SynchronousTestCase
):
    command = python_client("stompest_client")
    version = "1.1"


class Stompest12Tests(
    Basics, IndividualAcknowledgements, Transactions, HeartBeats, SynchronousTestCase
):
    command = python_client("stompest_client")
    version = "1.2"
