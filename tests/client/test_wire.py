"""Calls as XML: what is sent is what the daemon reads, and what it answers is what is read."""

from xmlrpc.client import Fault as WireFault

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.client import wire
from vmcontroller.client.caller import NOTHING
from vmcontroller.client.errors import BadAnswer, NoSuchVM, NotSendable
from vmcontroller.host.xmlrpc.marshal import read_call, write_answer, write_fault

TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="".join(map(chr, range(32))) + "\ufffe\uffff")
    | st.sampled_from("\t\n\r")
)
SCALARS = (
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.binary()
)
VALUES = st.recursive(
    SCALARS, lambda some: st.lists(some, max_size=4) | st.dictionaries(TEXT, some, max_size=4)
)


class WireTests(SynchronousTestCase):
    @given(st.lists(VALUES, max_size=4))
    def test_requests(self, params):
        """Whatever can be sent arrives as it was: also a lone CR, and a number beyond 32 bits."""
        self.assertEqual(read_call(wire.request("m", tuple(params))), ("m", tuple(params)))

    def test_read_only_mappings(self):
        """The defaults of the typed methods can be sent."""
        self.assertEqual(read_call(wire.request("m", [NOTHING, ()])), ("m", ({}, [])))

    @given(VALUES)
    def test_answers(self, value):
        """What the daemon answers is read as it was; ints that went as doubles are ints again."""
        found = wire.answer(write_answer(value))
        self.assertEqual(found, value)
        if isinstance(value, int) and not isinstance(value, bool):
            self.assertIs(type(found), int)

    def test_what_cannot_be_sent(self):
        """It is refused here, with what to do instead: the daemon would say less."""
        for value, words in (
            ("a\x1b[1m", "U\\+001B"),
            ("\ud800", "U\\+D800"),
            (object(), "object"),
        ):
            error = self.assertRaises(NotSendable, wire.request, "m", [{"k": [value]}])
            self.assertRegex(str(error), words)

    def test_faults(self):
        """A Fault is raised as the error of its name."""
        body = write_fault(WireFault(10, "NO_SUCH_VM: none is called 'x'"))
        error = self.assertRaises(NoSuchVM, wire.answer, body)
        self.assertEqual((error.number, error.detail), (10, "none is called 'x'"))

    def test_other_answers(self):
        """What is no answer of a daemon is said to be none."""
        for body in (
            b"",
            b"<html>login</html>",
            b"<methodResponse>",
            b"<methodResponse><params></params></methodResponse>",
            b"<methodResponse><params><param><value><int>x</int></value></param></params></methodResponse>",
            b"\xff\xfe\x00",
        ):
            self.assertRaises(BadAnswer, wire.answer, body)
