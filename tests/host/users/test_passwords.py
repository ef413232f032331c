"""What is kept of passwords and tokens can be checked; whatever else stands there is no one's."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.users import passwords


class PasswordTests(SynchronousTestCase):
    def test_right_and_wrong(self):
        """Only the password itself is right; twice the same is kept differently."""
        kept = passwords.hash_password("größe 1")
        self.assertTrue(passwords.verify("größe 1", kept))
        self.assertFalse(passwords.verify("größe 2", kept))
        self.assertNotEqual(kept, passwords.hash_password("größe 1"))
        self.assertNotIn("größe", kept)
        passwords.check_kept(kept)

    def test_nothing_kept(self):
        """Who has no password can't log in with any, nor with an empty one."""
        self.assertFalse(passwords.verify("", ""))
        self.assertFalse(passwords.verify("x", ""))

    def test_as_long_for_nobody(self):
        """A name that is nobody's is checked with the same cost as one that is somebody's."""
        costs = [text.split("$")[:4] for text in (passwords.NOBODYS, passwords.hash_password("a"))]
        self.assertEqual(costs[0], costs[1])

    @settings(deadline=None, max_examples=200)
    @given(st.text(alphabet="scrypt$0123456789=/+ABC:-", max_size=80))
    def test_what_is_no_hash(self, text):
        """Anything else is refused and is nobody's; no number in it costs memory without end."""
        try:
            passwords.check_kept(text)
        except ValueError:
            self.assertFalse(passwords.verify("x", text))

    def test_hostile_costs(self):
        """A line that asks for gigabytes is no password: scrypt's memory has a bound."""
        kept = passwords.hash_password("a").split("$")
        for field, value in ((1, "20"), (1, "63"), (2, "1000000"), (3, "99999"), (0, "md5")):
            wrong = [*kept]
            wrong[field] = value
            self.assertFalse(passwords.verify("a", "$".join(wrong)), value)


class TokenTests(SynchronousTestCase):
    def test_tokens(self):
        """A token has 256 random bits, and what is kept is its SHA-256."""
        tokens = {passwords.new_token() for _ in range(100)}
        self.assertEqual({len(token) for token in tokens}, {43})
        self.assertEqual(len(tokens), 100)
        token = tokens.pop()
        self.assertEqual(passwords.hash_token(token), hashlib.sha256(token.encode()).hexdigest())
