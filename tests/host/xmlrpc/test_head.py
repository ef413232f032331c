"""The head of a request: whose it is meant for, what it brings, and what of it reaches a log."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.xmlrpc.head import clean, reason_of, wrong_content, wrong_host

NAMES = {"vm.example.org", "192.0.2.1"}


def headers(**values):
    """Return what reads these headers; a list is one given several times."""
    found = {
        name.replace("_", "-").lower(): value if isinstance(value, list) else [value]
        for name, value in values.items()
    }
    return lambda name: [each.encode() for each in found.get(name.decode().lower(), [])]


class HostTests(SynchronousTestCase):
    def problem(self, scheme="http", **values):
        return wrong_host(headers(**values), NAMES, scheme=scheme)

    def test_own_names(self):
        """Loopback in each writing, the address, and the names that are allowed; with any port."""
        for host in (
            *("localhost", "LOCALHOST:50505", "localhost.", "127.0.0.1:1", "127.8.8.8", "[::1]:9"),
            *("192.0.2.1", "192.0.2.1:443", "vm.example.org:50505", "VM.Example.Org"),
        ):
            self.assertIsNone(self.problem(host=host), host)

    def test_others_names(self):
        """A page that lets its own name lead here is refused, and so is every trick with Host."""
        for host in (
            *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.2"),
            *("", "localhost evil", "localhost/", "@localhost", "[::2]", "localhost:99999999", "."),
            *("evil.example#localhost", "::1", "[::ffff:192.0.2.2]", "0.0.0.0"),
        ):
            self.assertEqual(self.problem(host=host).status, "421 Misdirected Request", host)
        self.assertIsNotNone(self.problem())
        self.assertIsNotNone(self.problem(host=["localhost", "localhost"]))

    def test_origins(self):
        """A browser says whose page calls: only one from here itself may."""
        self.assertIsNone(self.problem(host="localhost:5", origin="http://localhost:5"))
        for origin in (
            *("https://localhost:5", "http://localhost:6", "http://evil.example", "null", ""),
        ):
            refusal = self.problem(host="localhost:5", origin=origin)
            self.assertEqual(refusal.status, "400 Bad Request", origin)
        own = "https://localhost:5"
        self.assertIsNone(self.problem("https", host="localhost:5", origin=own))

    @given(st.binary(max_size=40))
    def test_any_bytes(self, octets):
        """Any bytes are a decision."""
        read = {b"Host": [octets], b"Origin": [octets]}
        wrong_host(lambda name: read[name], NAMES, scheme="http")


class ContentTests(SynchronousTestCase):
    def test_types(self):
        """Only XML, as it is: what a form of a web page can send is not among it."""
        for good in ("text/xml", "Application/XML; charset=utf-8", "text/xml ;x=y"):
            self.assertEqual(wrong_content(headers(content_type=good)), "")
        for bad in ("text/plain", "multipart/form-data", "text/xmlish", ""):
            self.assertIn("text/xml", wrong_content(headers(content_type=bad)))
        self.assertIn("text/xml", wrong_content(headers()))
        for coding in ("gzip", ["identity", "gzip"]):
            packed = headers(content_type="text/xml", content_encoding=coding)
            self.assertIn("Content-Encoding", wrong_content(packed))


class ReasonTests(SynchronousTestCase):
    def test_one_short_line(self):
        """A reason is one line of at most 200 characters, whatever is sent."""
        self.assertEqual(reason_of(headers()), "")
        self.assertEqual(reason_of(headers(x_vmcontroller_reason=" ticket 7 ")), "ticket 7")
        self.assertEqual(clean("a\nb\r\x1b[2J\u2028c\u202ed\x00"), "a b [2J c d")
        self.assertEqual(len(clean("x" * 10**6)), 200)

    @given(st.text(st.characters(exclude_categories=())))
    def test_any_text(self, text):
        """Nothing in it ends a line or moves a cursor, and it can be written down as UTF-8."""
        cleaned = clean(text)
        self.assertLessEqual(len(cleaned), 200)
        self.assertEqual(cleaned.splitlines()[1:], [])
        self.assertNotRegex(cleaned, "[\x00-\x1f\x7f-\x9f]")
        cleaned.encode()
