"""Nasty streams of octets, each with what must come of it, replayed cut at every place.

corpus/NAME.octets is what a client writes; corpus/outcomes.json says by name what it hears: the
commands, of a MESSAGE the body and of an ERROR a part of its `message`.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.host.broker.wire import BrokerCase
from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.frames import Version
from vmcontroller.common.stomp.parser import Limits, Parser
from vmcontroller.host.broker.limits import BrokerLimits

CORPUS = Path(__file__).parent / "corpus"
OUTCOMES = json.loads((CORPUS / "outcomes.json").read_text())
SMALL = Limits(line_bytes=100, header_count=8, body_bytes=50)


def streams():
    """Yield each stream by name."""
    for name in OUTCOMES:
        yield name, (CORPUS / f"{name}.octets").read_bytes()


def cuts(octets):
    """Yield the stream whole, cut in two at every place, and octet by octet."""
    yield [octets]
    for at in range(1, len(octets)):
        yield [octets[:at], octets[at:]]
    yield [octets[at : at + 1] for at in range(len(octets))]


class CorpusTests(BrokerCase):
    limits = BrokerLimits(frame=SMALL)

    def heard(self, chunks):
        """Return what a client hears that writes these chunks and goes."""
        peer = self.peer("127.0.0.1")
        for chunk in chunks:
            peer.raw(chunk)
        octets = peer.wire.value()
        for version in Version:
            if b"\nversion:%b\n" % version.encode() in octets:
                peer.parser.version = version
        frames = peer.hear()
        self.assertEqual(any(f.command == "ERROR" for f in frames), bool(self.fault(peer)))
        peer.lose()
        return frames

    def fault(self, peer):
        return peer.is_closing and peer.connection._reason != "disconnected"

    def matches(self, frames, outcome):
        if len(frames) != len(outcome):
            return False
        for frame, expected in zip(frames, outcome, strict=True):
            command, _, text = expected.partition(" ")
            found = frame.header("message") if command == "ERROR" else frame.body.decode()
            if frame.command != command:
                return False
            if text not in found if command == "ERROR" else text != found:
                return False
        return True

    def test_a_connection(self):
        """Hears the same however its octets are cut; nothing is raised, nothing is left behind."""
        for name, octets in streams():
            for chunks in cuts(octets):
                frames = self.heard(chunks)
                self.assertTrue(self.matches(frames, OUTCOMES[name]), (name, chunks, frames))
        router = self.factory._router
        self.assertEqual((router.topics, router.queues.by_name), ({}, {}))
        self.assertEqual((router.queues.queued_bytes, len(router.transactions)), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def parsed(self, chunks, version):
        parser = Parser(version=version, limits=SMALL)
        frames = []
        try:
            for chunk in chunks:
                parser.push(chunk)
                while (frame := parser.next_frame()) is not None:
                    frames.append(frame)
        except ProtocolError as fault:
            return frames, str(fault)
        return frames, None

    def test_a_parser(self):
        """Of each version gives the same frames and the same fault at every cut."""
        for name, octets in streams():
            for version in Version:
                whole = self.parsed([octets], version)
                for chunks in cuts(octets):
                    self.assertEqual((name, self.parsed(chunks, version)), (name, whole))

    def test_the_corpus_is_whole(self):
        """Each stream has an outcome, and each outcome a stream."""
        files = {path.stem for path in CORPUS.glob("*.octets")}
        self.assertEqual(files, set(OUTCOMES))
