"""The file of users on the disk: who may read it, when it is read again, how it is changed."""

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import ConfigError
from vmcontroller.host.users.records import User, Users
from vmcontroller.host.users.user_file import MAX_BYTES, UserFile, change_users, read_users


def with_user(name):
    return lambda users: users.with_user(User(name=name, roles=frozenset({"read"})))


class UserFileTests(SynchronousTestCase):
    def setUp(self):
        self.path = Path(self.mktemp()).resolve()
        self.path.mkdir()
        self.path /= "users"

    def names(self, users):
        return [user.name for user in users.all()]

    def test_none(self):
        """Where there is no file there are no users, and no error."""
        self.assertEqual(len(read_users(str(self.path))), 0)
        self.assertEqual(len(read_users(f"{self.path}/below/a/file")), 0)

    def test_change(self):
        """It is made with its directory, readable by its owner only, and changed as a whole."""
        path = self.path.parent / "new" / "users"
        change_users(str(path), with_user("a"))
        change_users(str(path), with_user("b"))
        self.assertEqual(self.names(read_users(str(path))), ["a", "b"])
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual([each.name for each in path.parent.iterdir()], ["users"])

    def test_a_change_that_fails(self):
        """What can't be done leaves everything as it was."""
        change_users(str(self.path), with_user("a"))
        before = self.path.read_bytes()

        def fails(users):
            raise KeyError

        self.assertRaises(KeyError, change_users, str(self.path), fails)
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual([each.name for each in self.path.parent.iterdir()], ["users"])

    def test_modes(self):
        """A file that others may read or write is refused, whatever stands in it."""
        change_users(str(self.path), with_user("a"))
        for mode in (0o640, 0o604, 0o620, 0o666, 0o644):
            self.path.chmod(mode)
            error = self.assertRaises(ConfigError, read_users, str(self.path))
            self.assertIn(f"must have mode 0600, not {mode:04o}", str(error))

    def test_what_is_no_file(self):
        """A directory, a FIFO without an end, a huge file, other bytes: one clear error."""
        self.path.mkdir()
        self.assertIn("is no file", str(self.assertRaises(ConfigError, read_users, str(self.path))))
        self.path.rmdir()
        os.mkfifo(self.path, 0o600)
        self.assertIn("is no file", str(self.assertRaises(ConfigError, read_users, str(self.path))))
        self.path.unlink()
        for content, says in ((b"\xff", "not UTF-8"), (b"#" * (MAX_BYTES + 1), "is larger than")):
            self.path.write_bytes(content)
            self.path.chmod(0o600)
            error = self.assertRaises(ConfigError, read_users, str(self.path))
            self.assertIn(says, str(error))

    def test_read_again(self):
        """A change is seen; a file that has become wrong has nobody in it until it is right."""
        change_users(str(self.path), with_user("a"))
        users = UserFile(str(self.path))
        users.open()
        version, found = users.state
        self.assertEqual(self.names(found), ["a"])
        users.refresh()
        self.assertEqual(users.state, (version, found))
        change_users(str(self.path), with_user("b"))
        users.refresh()
        self.assertEqual(self.names(users.state[1]), ["a", "b"])
        self.assertNotEqual(users.state[0], version)
        self.path.chmod(0o644)
        users.refresh()
        self.assertEqual(self.names(users.state[1]), [])
        self.path.chmod(0o600)
        users.refresh()
        self.assertEqual(self.names(users.state[1]), ["a", "b"])
        self.path.unlink()
        users.refresh()
        self.assertEqual(self.names(users.state[1]), [])

    def test_wrong_at_the_start(self):
        """A daemon doesn't start with a file that it can't trust."""
        self.path.write_text("nonsense")
        self.path.chmod(0o600)
        self.assertRaises(ConfigError, UserFile(str(self.path)).open)

    def test_users_are_values(self):
        """Adding and removing makes others; nobody's view changes under their hands."""
        users = Users()
        more = with_user("a")(users)
        self.assertEqual((len(users), len(more), len(more.without("a"))), (0, 1, 0))
