"""A file from one process to another by bare Twisted TCP, hashed on both sides: a copy's peer.

python -m tests.benchmarks.bare_tcp receive FILE, which prints its port; then send FILE PORT, which
prints the seconds from the connection until the receiver has said that it is whole and synced.
"""

# mypy: ignore-errors

from __future__ import annotations

import hashlib
import os
import struct
import sys
import time

from twisted.internet import reactor
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory
from zope.interface import implementer

BLOCK_BYTES = 256 * 1024
LENGTH = struct.Struct("!Q")
DIGEST_BYTES = 32


@implementer(IPullProducer)
class Sender(Protocol):
    """Says the length, the bytes and their digest."""

    def connectionMade(self):
        self.begun_s = time.perf_counter()
        self.file = open(self.factory.path, "rb", buffering=0)  # noqa: SIM115
        self.digest = hashlib.sha256()
        self.transport.write(LENGTH.pack(os.fstat(self.file.fileno()).st_size))
        self.transport.registerProducer(self, streaming=False)

    def resumeProducing(self):
        block = self.file.read(BLOCK_BYTES)
        self.digest.update(block)
        self.transport.write(block or self.digest.digest())
        if not block:
            self.transport.unregisterProducer()

    def stopProducing(self):
        pass

    def dataReceived(self, data):
        assert data == b"+", "the digests differ"
        print(time.perf_counter() - self.begun_s, flush=True)
        self.transport.loseConnection()

    def connectionLost(self, reason=None):
        reactor.stop()


class Receiver(Protocol):
    """Writes what comes, and answers + when it is the right file and on the disk."""

    def connectionMade(self):
        self.left_bytes = None
        self.head = b""
        self.tail = b""
        self.digest = hashlib.sha256()
        self.file = open(self.factory.path, "wb", buffering=0)  # noqa: SIM115

    def dataReceived(self, data):
        if self.left_bytes is None:
            self.head += data
            if len(self.head) < LENGTH.size:
                return
            (self.left_bytes,) = LENGTH.unpack_from(self.head)
            data = self.head[LENGTH.size :]
        if len(data) > self.left_bytes:
            self.tail += data[self.left_bytes :]
            data = data[: self.left_bytes]
        self.digest.update(data)
        self.file.write(data)
        self.left_bytes -= len(data)
        if len(self.tail) == DIGEST_BYTES:
            os.fsync(self.file.fileno())
            self.transport.write(b"+" if self.tail == self.digest.digest() else b"-")

    def connectionLost(self, reason=None):
        reactor.stop()


def main():
    what, path, *port = sys.argv[1:]
    if what == "send":
        factory = ClientFactory.forProtocol(Sender)
        reactor.connectTCP("127.0.0.1", int(port[0]), factory)
    else:
        factory = ServerFactory.forProtocol(Receiver)
        listening = reactor.listenTCP(0, factory, interface="127.0.0.1")
        print(listening.getHost().port, flush=True)
    factory.noisy = False
    factory.path = path
    reactor.run()


if __name__ == "__main__":
    main()
