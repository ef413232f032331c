"""stomp.py, in each version of the protocol that it speaks."""

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


class StompPy10Tests(Basics, Acknowledgements, Transactions, SynchronousTestCase):
    command = python_client("stomp_py_client")
    version = "1.0"


class StompPy11Tests(
    Basics, IndividualAcknowledgements, Transactions, HeartBeats, SynchronousTestCase
):
    command = python_client("stomp_py_client")
    version = "1.1"


class StompPy12Tests(
    Basics, IndividualAcknowledgements, Transactions, HeartBeats, SynchronousTestCase
):
    command = python_client("stomp_py_client")
    version = "1.2"
