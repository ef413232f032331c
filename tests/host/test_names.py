"""What a VM may be called."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import BadArgument
from vmcontroller.common.model import guest_id
from vmcontroller.host.names import MAX_BYTES, MAX_CHARS, check_new_name


class CheckNewNameTests(SynchronousTestCase):
    def test_allowed(self):
        """Spaces, quotes, markup, every script and hyphens are names like others."""
        for name in (
            "a",
            "worker 1",
            'it\'s "quoted" <b>&amp;',
            "größe-日本語",
            "-rf",
            "..a",
            "$(reboot)",
            "x" * MAX_CHARS,
            "ü" * (MAX_BYTES // 2),
            "12345678901",
            "0800279",
        ):
            check_new_name(name)

    def test_refused(self):
        """Each kind of bad name is refused with a text that says what is allowed."""
        for name, says in (
            ("", "1 to 100 characters"),
            ("x" * 101, "1 to 100 characters, not 101"),
            ("x" * 300, "not 300"),
            ("日" * 67, "200 bytes"),
            ("a\nb", "U+000A"),
            ("a\x00", "U+0000"),
            ("a\x7f", "U+007F"),
            ("a\x85b", "U+0085"),
            ("a\u2028b", "U+2028"),
            ("\ud800", "U+D800"),
            ("\uffff", "U+FFFF"),
            ("../x", "'/'"),
            ("/", "'/'"),
            (".", "'..'"),
            ("..", "'..'"),
            (" a", "white space"),
            ("a\u00a0", "white space"),
            ("12345678-1234-1234-1234-123456789abc", "UUID"),
            ("12345678123412341234123456789ABC", "UUID"),
            ("08:00:27:AA:bb:cc", "MAC"),
            ("08-00-27-aa-bb-cc", "MAC"),
            ("0800.27aa.bbcc", "MAC"),
            ("deadbeef0123", "MAC"),
        ):
            error = self.assertRaises(BadArgument, check_new_name, name)
            self.assertEqual(error.name, "vm")
            self.assertIn(says, error.problem)

    @given(st.text(alphabet="0123456789abcdefABCDEF:-.g", min_size=10, max_size=20))
    def test_no_name_is_taken_for_a_mac_address(self, text):
        """What passes as a name is never found as a MAC address instead."""
        try:
            check_new_name(text)
        except BadArgument:
            return
        self.assertRaises(BadArgument, guest_id, text)
