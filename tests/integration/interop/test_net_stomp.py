"""Perl's Net::Stomp, which has no heart-beats; it takes any version that the broker offers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.interop.scenarios import (
    HERE,
    Acknowledgements,
    Basics,
    IndividualAcknowledgements,
    Transactions,
)


class NetStomp10Tests(Basics, Acknowledgements, Transactions, SynchronousTestCase):
    command = ("perl", str(HERE / "net_stomp_client.pl"))
    version = "1.0"


class NetStomp12Tests(Basics, IndividualAcknowledgements, Transactions, SynchronousTestCase):
    command = ("perl", str(HERE / "net_stomp_client.pl"))
