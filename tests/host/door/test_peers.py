"""Who is at the other end, as the system says; no port is needed for it."""

import os
import socket

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.door.peers import certified_name, peer_of


class Transport:
    def __init__(self, host, peer=None, connection=None):
        self.getHost = lambda: host
        self.getPeer = lambda: peer
        self.socket = connection


class PeerTests(SynchronousTestCase):
    def test_addresses(self):
        """IPv4 counts by address, IPv6 by its network of 64 bits, loopback alone."""
        here = IPv4Address("TCP", "127.0.0.1", 1)
        for address, client in (
            ("192.0.2.9", "192.0.2.9"),
            ("::ffff:192.0.2.9", "192.0.2.9"),
            ("2001:db8::1", "2001:db8::/64"),
            ("2001:db8::ffff:1", "2001:db8::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::1", "::1"),
        ):
            kind = IPv6Address if ":" in address else IPv4Address
            peer = peer_of(Transport(here, kind("TCP", address, 9)))
            self.assertEqual((peer.key, peer.address), (client, f"{address}:9"))
            self.assertEqual(peer.uid, -1)

    def test_accounts(self):
        """Of a process on the socket the kernel says account and groups."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        peer = peer_of(Transport(UNIXAddress(b"/x"), connection=ours))
        self.assertEqual(peer.uid, os.getuid())
        self.assertEqual(peer.gids, {os.getgid(), *os.getgroups()})
        self.assertEqual(peer.key, f"uid {os.getuid()}")
        self.assertIn(str(os.getpid()), peer.address)

    def test_no_certificate(self):
        """Without TLS, or without a certificate, nobody is certified."""
        transport = Transport(None)
        self.assertEqual(certified_name(transport), "")
        transport.getPeerCertificate = lambda: None
        self.assertEqual(certified_name(transport), "")
