"""`vmcontroller-host passwd` as it is called, on a file of its own."""

import stat
from pathlib import Path

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.main import main
from vmcontroller.host.users.passwords import verify
from vmcontroller.host.users.user_file import read_users


class PasswdTests(SynchronousTestCase):
    def setUp(self):
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        self.users = folder / "users"
        self.config = folder / "host.yaml"
        self.config.write_text(f"xmlrpc: {{users: {self.users}}}\n")

    def passwd(self, *arguments, stdin="", status=0):
        result = CliRunner().invoke(
            main, ["passwd", "-c", str(self.config), *arguments], input=stdin
        )
        self.assertEqual(result.exit_code, status, result.output)
        return result

    def user(self, name):
        return read_users(str(self.users)).named(name)

    def test_add_change_remove(self):
        """A user comes with a password from stdin, changes it, changes roles, and goes."""
        said = self.passwd("alice", "--roles", "read,exec", stdin="secret\n").stderr
        self.assertEqual(said, "alice is added: read,exec\n")
        self.assertEqual(stat.S_IMODE(self.users.stat().st_mode), 0o600)
        self.assertTrue(verify("secret", self.user("alice").password))
        self.passwd("alice", stdin="other\n")
        self.assertTrue(verify("other", self.user("alice").password))
        self.assertEqual(self.user("alice").roles, {"read", "exec"})
        kept = self.user("alice").password
        self.passwd("alice", "--roles", "admin")
        self.assertEqual(self.user("alice").roles, {"admin"})
        self.assertEqual(self.user("alice").password, kept)
        self.passwd("alice", "--remove")
        self.assertIsNone(self.user("alice"))

    def test_tokens(self):
        """A token is printed once and alone on stdout, listed by its beginning, and revoked."""
        made = self.passwd("bot", "--token", "--roles", "operate")
        token = made.stdout.strip()
        self.assertEqual(len(token), 43)
        second = self.passwd("bot", "--token").stdout.strip()
        users = read_users(str(self.users))
        self.assertEqual(users.of_token(token).name, "bot")
        self.assertNotIn(token, self.users.read_text())
        listed = self.passwd("--list").stdout
        self.assertTrue(listed.startswith("bot: operate; the token "), listed)
        shown = self.user("bot").tokens[0][:8]
        self.assertIn(shown, listed)
        self.passwd("bot", "--revoke", shown)
        users = read_users(str(self.users))
        self.assertIsNone(users.of_token(token))
        self.assertIsNotNone(users.of_token(second))

    def test_mistakes(self):
        """Each is one line that says what is wrong, and changes nothing."""
        self.passwd("bob", "--roles", "read", stdin="x\n")
        before = self.users.read_bytes()
        for arguments, stdin, says in (
            (["new"], "x\n", "say what they may do with --roles"),
            (["new", "--token"], "", "say what they may do with --roles"),
            (["new", "--roles", "boss"], "x\n", "not 'boss'"),
            (["a:b", "--roles", "read"], "x\n", "a name must be"),
            (["bob"], "\n", "the password is empty"),
            (["bob"], "x" * 2000, "longer than 1024 bytes"),
            (["nobody", "--remove"], "", "there is no user 'nobody'"),
            (["bob", "--revoke", ""], "", "has no token ''"),
            (["bob", "--remove", "--token"], "", "only one of"),
            ([], "", "NAME is missing"),
        ):
            said = self.passwd(*arguments, stdin=stdin, status=2).stderr
            self.assertTrue(said.startswith("vmcontroller-host: "), said)
            self.assertEqual(said.count("\n"), 1, said)
            self.assertIn(says, said)
        self.assertEqual(self.users.read_bytes(), before)

    def test_check(self):
        """--check refuses a door that can't open, before the daemon is started with it."""
        for keys, says in (
            ("listen_on: 192.0.2.1", "xmlrpc.tls_certificate"),
            ("listen_on: 192.0.2.1, anonymous: true", "xmlrpc.anonymous"),
            ("listen_on: 192.0.2.1, tls_certificate: /c, tls_key: /k", "has no users"),
            ("tls_certificate: /c", "xmlrpc.tls_key"),
            ("tls_client_ca: /c", "xmlrpc.tls_certificate"),
            ("tls_certificate: /missing, tls_key: /missing", "'/missing' cannot be read"),
        ):
            self.config.write_text(f"xmlrpc: {{users: {self.users}, {keys}}}\n")
            result = CliRunner().invoke(main, ["-c", str(self.config), "--check"])
            self.assertEqual(result.exit_code, 2, result.output)
            self.assertIn(says, result.stderr)
        self.config.write_text(f"xmlrpc: {{users: {self.users}}}\n")
        result = CliRunner().invoke(main, ["-c", str(self.config), "--check"])
        self.assertEqual(result.output, f"{self.config}: good\n")
