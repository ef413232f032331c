"""XML-RPC in and out: hostile requests, and replies that every client can parse."""

import contextlib
import enum
import tracemalloc
from xmlrpc.client import Binary, Fault, dumps, loads

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.xmlrpc.faults import BadRequest
from vmcontroller.host.xmlrpc.marshal import (
    MAX_DEPTH,
    is_large,
    plain,
    read_call,
    write_answer,
    write_fault,
)

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))
LEGAL_TEXT = st.text(
    alphabet=st.one_of(
        st.sampled_from("\t\n\r <>&]'\""),
        st.characters(
            min_codepoint=0x20, exclude_categories=("Cs",), exclude_characters="\ufffe\uffff"
        ),
    )
)
NUMBERS = st.one_of(
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.floats(allow_nan=False, allow_infinity=False),
)


def values(text):
    """Make the values that operations may answer."""
    return st.recursive(
        st.one_of(text, NUMBERS, st.binary()),
        lambda inner: st.one_of(
            st.lists(inner), st.tuples(inner, inner), st.dictionaries(text, inner)
        ),
        max_leaves=20,
    )


def expected(value):
    """Tell what a client gets to see of a value that needs no repair."""
    if isinstance(value, dict):
        return {key: expected(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [expected(item) for item in value]
    if isinstance(value, int) and not -(2**31) <= value < 2**31:
        return float(value)
    return value


def parsed(body):
    """Parse as the standard client does."""
    (value,), _ = loads(body, use_builtin_types=True)
    return value


class Colour(enum.StrEnum):
    RED = "Red"


class Number(enum.IntEnum):
    ONE = 1


class WriteTests(SynchronousTestCase):
    @given(values(ANY_TEXT))
    def test_every_answer_parses(self, value):
        """Whatever text a guest printed, the client can parse the reply."""
        parsed(write_answer(value))

    @given(values(LEGAL_TEXT))
    def test_legal_text_round_trips(self, value):
        """What XML can carry comes back exactly as it was."""
        self.assertEqual(parsed(write_answer(value)), expected(value))

    @given(ANY_TEXT)
    def test_every_fault_parses(self, text):
        """A Fault's text is repaired like any other."""
        self.assertRaises(Fault, loads, write_fault(Fault(1, text)))

    def test_carriage_returns_survive(self):
        """CR is not turned into LF by the client's parser."""
        self.assertEqual(parsed(write_answer("a\r\nb\r")), "a\r\nb\r")

    def test_illegal_characters_are_repaired(self):
        """Control characters, lone surrogates and non-characters become U+FFFD, everywhere."""
        value = {"a\x00": ["\x1b[31m", ("\ud800", "\ufffe\uffff")]}
        self.assertEqual(
            parsed(write_answer(value)),
            {"a\ufffd": ["\ufffd[31m", ["\ufffd", "\ufffd\ufffd"]]},
        )

    def test_large_ints_are_doubles(self):
        """An int beyond 32 bits is a double on the wire; one within stays an int."""
        self.assertIn(b"<double>2147483648.0</double>", write_answer(2**31))
        self.assertIn(b"<int>2147483647</int>", write_answer(2**31 - 1))
        self.assertIn(b"<int>-2147483648</int>", write_answer(-(2**31)))
        self.assertIn(b"<double>-2147483649.0</double>", write_answer(-(2**31) - 1))

    def test_booleans_stay_booleans(self):
        """True is not written as the int it is in Python."""
        self.assertIn(b"<boolean>1</boolean>", write_answer(True))

    def test_enums_are_their_values(self):
        """Enums become strings or ints, as values and as keys."""
        self.assertEqual(
            parsed(write_answer({Colour.RED: [Colour.RED, Number.ONE]})), {"Red": ["Red", 1]}
        )

    def test_bytes_are_base64(self):
        """Bytes are not text: they go out as base64."""
        self.assertEqual(loads(write_answer(b"\x00\xff"))[0][0], Binary(b"\x00\xff"))

    def test_what_has_no_form_is_a_bug(self):
        """None, NaN, infinities, ints beyond a double and foreign objects never leave."""
        for value in (None, [None], float("nan"), float("inf"), 10**400, object(), {1: 2}, {"a"}):
            self.assertRaises(TypeError, plain, value)

    def test_is_large(self):
        """Long text, many items and long keys count; looking stops at the limit."""
        self.assertFalse(is_large({"a": [1, "b", b"c"]}, 1000))
        self.assertTrue(is_large("x" * 1001, 1000))
        self.assertTrue(is_large([b"x" * 1001], 1000))
        self.assertTrue(is_large({"out": ["x" * 600, "y" * 600]}, 1000))
        self.assertTrue(is_large([1] * 1000, 1000))


CALL = b"<methodCall><methodName>m</methodName><params>%s</params></methodCall>"


class ReadTests(SynchronousTestCase):
    def refused(self, body):
        """Read what must be refused; return the error's text."""
        return str(self.assertRaises(BadRequest, read_call, body))

    def test_what_a_client_sends(self):
        """The standard client's call comes in with its plain values."""
        params = ("ü<&>\n", 1, 1.5, True, b"\x00", ["a"], {"k": {}}, None)
        body = dumps(params, "runCmd", allow_none=True).encode()
        self.assertEqual(read_call(body), ("runCmd", params))

    def test_no_params(self):
        """A call without params is one with none."""
        body = (
            b"<?xml version='1.0'?><!-- hi -->\n<methodCall><methodName>m</methodName></methodCall>"
        )
        self.assertEqual(read_call(b"\xef\xbb\xbf" + body), ("m", ()))

    def test_document_types_are_refused(self):
        """A DOCTYPE is refused before anything is expanded, wherever it hides in the prolog."""
        doctype = b'<!DOCTYPE x [<!ENTITY a "%s">]>' % (b"A" * 10**6)
        bomb = doctype + CALL % (b"<param><value>" + b"&a;" * 90 + b"</value></param>")
        tracemalloc.start()
        try:
            for prolog in (b"", b"<?xml version='1.0'?>\n", b" ", b"<!-- - --><?pi ?>\n"):
                self.assertIn("document type", self.refused(prolog + bomb))
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess(peak_bytes, 8 * 2**20)

    def test_doctype_as_text_is_text(self):
        """An argument may speak of a DOCTYPE, also in CDATA."""
        body = CALL % b"<param><value><![CDATA[<!DOCTYPE html>]]></value></param>"
        self.assertEqual(read_call(body), ("m", ("<!DOCTYPE html>",)))

    def test_other_encodings_are_refused(self):
        """Only UTF-8 and its subset ASCII are read: nothing hides in another encoding."""
        text = "<?xml version='1.0' encoding='%s'?>" + (CALL % b"").decode()
        for encoding in ("utf-16", "utf-16-le", "utf-32", "utf-7", "cp037"):
            self.refused((text % encoding).encode(encoding))
        self.assertIn("UTF-8", self.refused((text % "iso-8859-1").encode()))
        self.assertIn("UTF-8", self.refused((text % "UTF-16").encode()))
        for encoding in ("UTF-8", "us-ascii"):
            self.assertEqual(read_call((text % encoding).encode()), ("m", ()))
        self.refused(CALL % b"<param><value>\xff</value></param>")

    def test_deep_nesting_is_refused(self):
        """Elements are counted on the way in: nothing recursive is built from a deep request."""
        for levels in (MAX_DEPTH, 10**5):
            deep = b"<value><array><data>" * levels + b"</data></array></value>" * levels
            self.assertIn("nested", self.refused(CALL % (b"<param>" + deep + b"</param>")))
        levels = (MAX_DEPTH - 4) // 3
        deep = b"<value><array><data>" * levels + b"</data></array></value>" * levels
        read_call(CALL % (b"<param>" + deep + b"</param>"))

    def test_malformed_calls(self):
        """What isn't a call is one clear error, whichever way it isn't."""
        for body in (
            b"",
            b"hello",
            b"\x1f\x8b\x08\x00",
            b"<methodCall>",
            b"<methodCall/>",
            b"<methodCall><params/></methodCall>",
            b"<methodResponse><params/></methodResponse>",
            b"<methodCall><fault><value/></fault></methodCall>",
            CALL % b"<param><value><int>x</int></value></param>",
            CALL % b"<param><value><int></int></value></param>",
            CALL % b"<param><value><boolean>7</boolean></value></param>",
            CALL % b"<param><value><dateTime.iso8601>x</dateTime.iso8601></value></param>",
            CALL % b"<param><value><wat>x</wat></value></param>",
            CALL
            % b"<param><value><struct><member><name>x</name></member></struct></value></param>",
            CALL % b"</struct></value></param>",
            CALL % b"<param><value>\x01</value></param>",
            CALL % b"<param><value>&undeclared;</value></param>",
            CALL % b"" + b"<!DOCTYPE x>",
        ):
            self.refused(body)

    @given(st.lists(st.sampled_from([
        b"<value>", b"</value>", b"<struct>", b"</struct>", b"<array>", b"</array>", b"<data>",
        b"</data>", b"<member>", b"</member>", b"<name>", b"</name>", b"<int>", b"</int>", b"9",
        b"<nil/>", b"<base64>", b"</base64>", b"<methodName>", b"</methodName>", b"<fault>",
        b"</fault>", b"<params/>", b"<bigdecimal>x</bigdecimal>", b"<boolean/>", b"<i8>1</i8>",
    ])))  # fmt: skip
    def test_elements_in_any_order(self, elements):
        """Any sequence of the format's own elements is a call or a BadRequest, nothing else."""
        closed = b"".join(elements)
        for body in (
            closed,
            b"<value>%s</value>" % closed,
            b"<value><struct><member/></struct></value>",
        ):
            with contextlib.suppress(BadRequest):
                read_call(CALL % body)

    @given(st.lists(st.sampled_from(["value", "struct", "array", "data", "member", "name", "int",
        "base64", "nil", "params", "param", "methodName", "fault", "double", "boolean"]),
        max_size=12), st.text(alphabet="9aA=. ", max_size=3))  # fmt: skip
    def test_well_formed_nonsense(self, tags, text):
        """Well-formed XML with elements out of place is a call or a BadRequest, nothing else."""
        opening = "".join(f"<{tag}>" for tag in tags)
        closing = "".join(f"</{tag}>" for tag in reversed(tags))
        for inside in (opening + text + closing, "".join(f"<{tag}>{text}</{tag}>" for tag in tags)):
            with contextlib.suppress(BadRequest):
                read_call(CALL % inside.encode())
