"""Where a daemon is: what a URL may be, and where one is looked for without."""

import errno
import ssl

from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.client import address
from vmcontroller.client.address import Address, address_of, usual_url
from vmcontroller.client.connection import Credentials, unreachable


class AddressTests(SynchronousTestCase):
    def test_forms(self):
        """Port and path may be left out."""
        for url, wanted in (
            ("http://h", Address(host="h", port=50505)),
            ("https://h:1/", Address(host="h", port=1, tls=True)),
            ("http://[::1]:5/RPC2", Address(host="::1", port=5)),
            ("https://h/vmc/RPC2", Address(host="h", port=50505, tls=True, path="/vmc/RPC2")),
            ("unix:/run/x.sock", Address(socket="/run/x.sock")),
            ("unix:///run/x.sock", Address(socket="/run/x.sock")),
        ):
            self.assertEqual(address_of(url), wanted)

    def test_shown(self):
        """It is shown in the form in which it may be given."""
        for url in ("http://h:1", "https://[::1]:5", "unix:/run/x.sock"):
            self.assertEqual(address_of(url).shown, url)

    def test_refused(self):
        """What is none is refused; a password in a URL is one that others read."""
        for url, why in (
            ("h:50505", "HOST:PORT"),
            ("ftp://h", "HOST:PORT"),
            ("http://", "HOST:PORT"),
            ("http://u:p@h", "password"),
            ("http://h?x=1", "more than"),
            ("http://h:port", "[Pp]ort"),
            ("unix:", "socket"),
        ):
            self.assertRegex(str(self.assertRaises(ValueError, address_of, url)), why)

    def test_usual(self):
        """The environment says where, else the socket if it is there, else the port."""
        self.assertEqual(usual_url({"VMCONTROLLER_URL": "http://x"}), "http://x")
        here = self.mktemp()
        self.patch(address, "SOCKET", here)
        self.assertEqual(usual_url({}), "http://127.0.0.1:50505")
        open(here, "w").close()
        self.assertEqual(usual_url({}), f"unix:{here}")

    def test_advice(self):
        """Why there is no connection is said with what to do about it."""
        there = address_of("https://h:1")
        untrusted = ssl.SSLCertVerificationError(1, "x")
        untrusted.verify_message = "self-signed certificate"
        for error, words in (
            (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "running there"),
            (PermissionError(errno.EACCES, "Permission denied"), "group, `vmcontroller`"),
            (untrusted, "self-signed certificate; name the authority"),
            (ssl.SSLError(1, "wrong version number"), "does it speak TLS"),
            (TimeoutError("timed out"), "network up"),
        ):
            self.assertRegex(unreachable(there, error), f"^https://h:1: .*{words}")


class CredentialTests(SynchronousTestCase):
    def test_headers(self):
        """A token goes before a user; without either nothing is said."""
        self.assertEqual(Credentials().headers(), {})
        said = Credentials(user="ü", password="p:w").headers()
        self.assertEqual(said, {"Authorization": "Basic w7w6cDp3"})
        said = Credentials(user="u", password="p", token="t0k", reason="a test").headers()
        self.assertEqual(said, {"Authorization": "Bearer t0k", "X-VMController-Reason": "a test"})

    def test_no_header_is_smuggled(self):
        """A line break in a token or a reason does not become a header."""
        for wrong in (Credentials(token="a\r\nX: y"), Credentials(reason="a\nb")):
            self.assertRaises(ValueError, wrong.headers)
