"""The text of the file of users: what is written is read, and what is wrong names its line only."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.door_config import ROLES
from vmcontroller.common.errors import ConfigError
from vmcontroller.host.users.passwords import NOBODYS, hash_token
from vmcontroller.host.users.records import User, Users, parse, text_of

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}", fullmatch=True)
USERS = st.builds(
    User,
    name=NAMES,
    roles=st.frozensets(st.sampled_from(ROLES)),
    password=st.sampled_from(["", NOBODYS]),
    tokens=st.lists(st.text(max_size=5).map(hash_token), unique=True, max_size=3).map(tuple),
)


class RecordTests(SynchronousTestCase):
    @given(st.lists(USERS, unique_by=lambda user: user.name, max_size=5))
    def test_comes_back(self, users):
        """What was written is read as it was."""
        read = parse(text_of(Users(users)), "users")
        self.assertEqual(read.all(), sorted(users, key=lambda user: user.name))

    def test_by_token(self):
        """A token is its user's; no token is found by what is kept of it."""
        user = User(name="a", roles=frozenset({"read"}), tokens=(hash_token("t"), hash_token("u")))
        users = Users([user, User(name="b", roles=frozenset())])
        self.assertIs(users.of_token("u"), user)
        for wrong in ("", "v", hash_token("t")):
            self.assertIsNone(users.of_token(wrong))

    def test_wrong_lines(self):
        """Each mistake names its line, and shows nothing of a secret."""
        for line, says in (
            ("alice", "NAME:ROLES:PASSWORD:TOKENS"),
            ("alice:read:hunter2:", "no hash of a password"),
            ("alice:boss::", "a role must be one of read, operate, exec, files, admin"),
            ("a b:read::", "a name must be"),
            (":read::", "a name must be"),
            ("alice:read::token", "a SHA-256 in hex"),
            ("ok:read::", "there already"),
            ("alice:read:::", "NAME:ROLES:PASSWORD:TOKENS"),
        ):
            error = self.assertRaises(ConfigError, parse, f"# x\nok:read::\n\n{line}\n", "users")
            self.assertIn(says, str(error))
            self.assertEqual(error.key, "line 4")
            self.assertNotIn("hunter2", str(error))

    @given(st.text(alphabet="abc:,#$\n readmin", max_size=100))
    def test_any_text(self, text):
        """Any text is users or one clear error."""
        try:
            parse(text, "users")
        except ConfigError as error:
            self.assertIn("line", error.key)
