"""Who comes in: by password, token, account or certificate; and who is told what if not."""

import base64

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from vmcontroller.host.callers import ADMIN
from vmcontroller.host.door.accounts import KEPT_S, Accounts, name_of
from vmcontroller.host.door.gatekeeper import Gatekeeper, Rules
from vmcontroller.host.door.passwords import WAITING_MOST, Passwords
from vmcontroller.host.users.failures import AT_ONCE, EVERY_S
from vmcontroller.host.users.passwords import hash_password, hash_token
from vmcontroller.host.users.records import User, Users
from vmcontroller.host.users.remembered import REMEMBERED_S
from vmcontroller.host.xmlrpc.gate import Peer, Refusal

PASSWORD, TOKEN = "größe: 1", "t" * 43
ALICE = User(
    name="alice",
    roles=frozenset({"read", "exec"}),
    password=hash_password(PASSWORD),
    tokens=(hash_token(TOKEN),),
)
OWN_UID, GROUP = 990, 500
THERE = Peer(key="192.0.2.9", address="192.0.2.9:1000")


class FixedUsers:
    """Users that change when a test says so."""

    def __init__(self):
        self.state = (1, Users([ALICE]))
        self.coming = None
        self.refreshed = 0

    def refresh(self):
        self.refreshed += 1
        if self.coming is not None:
            self.state, self.coming = (self.state[0] + 1, self.coming), None


class Threads:
    """Threads whose work is done when a test says so."""

    def __init__(self):
        self.waiting = []

    def __call__(self, work, *arguments):
        done = Deferred()
        self.waiting.append((done, work, arguments))
        return done

    def work(self):
        while self.waiting:
            done, work, arguments = self.waiting.pop(0)
            done.callback(work(*arguments))


class Transport:
    def __init__(self, host="127.0.0.1", certificate=None):
        self.host = IPv4Address("TCP", host, 50505)

    def getHost(self):
        return self.host


class Head:
    def __init__(self, headers):
        self.requestHeaders = Headers({"Host": ["localhost"]})
        for name, value in headers.items():
            self.requestHeaders.setRawHeaders(name, value if isinstance(value, list) else [value])


def basic(name, password):
    pair = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


class GateCase(SynchronousTestCase):
    anonymous = False

    def setUp(self):
        self.clock = Clock()
        self.threads = Threads()
        self.users = FixedUsers()
        self.refusals = []
        self.names = {1000: "bob", 1001: "alice", OWN_UID: "vmc"}
        accounts = Accounts(self.threads, self.clock)
        self.patch(
            __import__("vmcontroller.host.door.accounts", fromlist=["x"]),
            "name_of",
            lambda uid: self.names.get(uid, f"uid {uid}"),
        )
        self.gate = Gatekeeper(
            Rules(
                anonymous=self.anonymous,
                hosts={"127.0.0.1"},
                socket_gid=GROUP,
                socket_roles=frozenset({"read", "operate"}),
                own_uid=OWN_UID,
            ),
            users=self.users,
            passwords=Passwords(self.users, self.threads, self.clock),
            accounts=accounts,
            refresh=lambda: self.threads(self.users.refresh),
            refused=lambda peer, name, why: self.refusals.append((peer.key, name, why)),
        )

    def begin(self, peer=THERE, **headers):
        return self.gate.admit(
            Head({name.replace("_", "-"): value for name, value in headers.items()}),
            peer,
            Transport(),
        )

    def verdict(self, peer=THERE, **headers):
        """Return what is decided, whether at once or not."""
        found = self.begin(peer, **headers)
        if isinstance(found, Deferred):
            self.threads.work()
            found = self.successResultOf(found)
        return found

    def refused(self, status, peer=THERE, **headers):
        found = self.verdict(peer, **headers)
        self.assertIsInstance(found, Refusal)
        self.assertTrue(found.status.startswith(str(status)), found.status)
        return found


class PasswordTests(GateCase):
    def test_right(self):
        """A name and its password are that user, with the roles of the file."""
        caller = self.verdict(**basic("alice", PASSWORD), X_VMController_Reason="ticket\n7")
        self.assertEqual((caller.name, caller.roles), ("alice", ALICE.roles))
        self.assertEqual((caller.address, caller.reason), (THERE.address, "ticket 7"))
        self.assertEqual(self.refusals, [])

    def test_wrong(self):
        """Everything else is 401, and says how one logs in; a name of nobody's says the same."""
        wrong = (basic("alice", "x"), basic("nobody", PASSWORD), basic("alice", ""), basic("", ""))
        texts = {self.refused(401, **headers).response() for headers in wrong}
        self.assertEqual(len(texts), 1)
        response = texts.pop()
        self.assertIn(
            b'\r\nWWW-Authenticate: Basic realm="VMController", charset="UTF-8"\r\n', response
        )
        self.assertIn(b"\r\nConnection: close\r\n", response)
        self.assertEqual(self.refusals[1], (THERE.key, "nobody", "401 Unauthorized"))

    def test_nothing_or_nonsense(self):
        """No credentials, half ones and two at once are 401 without any work."""
        for value in (
            *("", "Basic", "Basic !!!", "Basic YQ==", "Digest x", "Negotiate", "\xff"),
            ["Basic YTpi", "Basic YTpi"],
        ):
            found = self.begin(Authorization=value)
            self.assertEqual(found.status, "401 Unauthorized", value)
        self.assertEqual(self.begin().status, "401 Unauthorized")

    def test_remembered(self):
        """The second call costs no hash; after a minute, or with other users, it does again."""
        self.verdict(**basic("alice", PASSWORD))
        self.assertEqual(self.begin(**basic("alice", PASSWORD)).name, "alice")
        self.assertIsInstance(self.begin(**basic("alice", PASSWORD + "x")), Deferred)
        self.threads.work()
        self.clock.advance(REMEMBERED_S)
        self.assertIsInstance(self.begin(**basic("alice", PASSWORD)), Deferred)
        self.threads.work()
        self.users.coming = Users()
        self.users.refresh()
        self.refused(401, **basic("alice", PASSWORD))

    def test_many_at_once(self):
        """Two hundred clients of one user that begin at once cost one hash."""
        begun = [self.begin(**basic("alice", PASSWORD)) for _ in range(200)]
        self.assertEqual(len(self.threads.waiting), 1)
        self.threads.work()
        self.assertEqual({self.successResultOf(each).name for each in begun}, {"alice"})

    def test_one_hash_at_once(self):
        """Hashes are made one after the other, of at most so many that wait: memory has a bound."""
        begun = [self.begin(Peer(key=str(n), address=""), **basic("a", str(n))) for n in range(40)]
        self.assertEqual(len(self.threads.waiting), 1)
        refused = [each for each in begun if each.called]
        self.assertEqual(len(refused), 40 - WAITING_MOST)
        self.assertEqual({self.successResultOf(each).status[:3] for each in refused}, {"503"})

    def test_guessing(self):
        """Ten wrong guesses of an address, then one every five seconds; others are not hindered."""
        self.patch(
            __import__("vmcontroller.host.door.passwords", fromlist=["x"]),
            "verify",
            lambda password, kept: password == PASSWORD and bool(kept),
        )
        self.verdict(**basic("alice", PASSWORD))
        for number in range(AT_ONCE):
            self.refused(401, **basic("alice", str(number)))
        refusal = self.refused(429, **basic("alice", "another"))
        self.assertEqual(dict(refusal.headers), {"Retry-After": "5"})
        self.assertEqual(self.verdict(**basic("alice", PASSWORD)).name, "alice", "remembered")
        self.assertEqual(self.verdict(**bearer(TOKEN)).name, "alice", "a token can't be guessed")
        other = Peer(key="192.0.2.10", address="")
        self.refused(401, other, **basic("alice", "x"))
        self.clock.advance(EVERY_S)
        self.refused(401, **basic("alice", "x"))
        self.refused(429, **basic("alice", "x"))

    def test_a_new_user(self):
        """A user who was just made can log in at once: the file is looked at before a refusal."""
        self.users.coming = Users([User(name="bob", roles=frozenset(), password=ALICE.password)])
        self.assertEqual(self.verdict(**basic("bob", PASSWORD)).name, "bob")

    def test_endless_passwords(self):
        """A password of a size that no user has is wrong without a hash."""
        found = self.begin(**basic("alice", "x" * 2000))
        self.assertEqual(self.successResultOf(found).status, "401 Unauthorized")


class TokenTests(GateCase):
    def test_right(self):
        """A token is its user, at once, in any case of the scheme's name."""
        self.assertEqual(self.begin(**bearer(TOKEN)).name, "alice")
        self.assertEqual(self.begin(Authorization=f"BEARER  {TOKEN} ").name, "alice")

    def test_wrong(self):
        """An unknown one is 401 after a look at the file, and not counted as a guess."""
        for _ in range(AT_ONCE + 5):
            self.refused(401, **bearer("u" * 43))
        self.assertEqual(self.users.refreshed, AT_ONCE + 5)

    def test_new(self):
        """One that was just made is known."""
        self.users.coming = Users([User(name="bot", roles=frozenset(), tokens=(hash_token("n"),))])
        self.assertEqual(self.verdict(**bearer("n")).name, "bot")


class HostTests(GateCase):
    def test_wrong_host(self):
        """A request for another name is refused before its credentials are looked at."""
        self.refused(421, Host="evil.example", **basic("alice", PASSWORD))
        self.refused(400, Origin="http://evil.example", **bearer(TOKEN))
        self.assertEqual(self.threads.waiting, [])
        self.assertEqual(len(self.refusals), 2)

    def test_not_on_the_socket(self):
        """No web page reaches the Unix socket: any Host is good there."""
        root = Peer(key="uid 0", address="", uid=0)
        self.assertEqual(self.verdict(root, Host="whatever").name, "root")


class AccountTests(GateCase):
    def peer(self, uid, *gids):
        return Peer(key=f"uid {uid}", address=f"unix, uid {uid}", uid=uid, gids=frozenset(gids))

    def test_root_and_the_daemons_own(self):
        """Both are admin; root is so at once, whatever a directory service does."""
        self.assertEqual(self.begin(self.peer(0)).roles, {ADMIN})
        caller = self.verdict(self.peer(OWN_UID))
        self.assertEqual((caller.name, caller.roles), ("vmc", {ADMIN}))

    def test_members_of_the_group(self):
        """They have what the configuration says."""
        caller = self.verdict(self.peer(1000, 1000, GROUP))
        self.assertEqual((caller.name, caller.roles), ("bob", {"read", "operate"}))

    def test_a_user_of_the_same_name(self):
        """The file counts before the group, be it more or less; and without the group, too."""
        for gids in ((GROUP,), ()):
            self.assertEqual(self.verdict(self.peer(1001, *gids)).roles, ALICE.roles)

    def test_others(self):
        """Whoever is neither may not, even if the socket's mode was opened by someone."""
        self.refused(401, self.peer(1000, 1000))
        self.refused(401, self.peer(4711))
        self.assertEqual(self.refusals[1][1], "uid 4711")

    def test_credentials_count_first(self):
        """Who logs in is whom they log in as, even root; a wrong password is wrong."""
        self.assertEqual(self.verdict(self.peer(0), **bearer(TOKEN)).name, "alice")
        self.refused(401, self.peer(0), **basic("alice", "x"))

    def test_names_are_remembered(self):
        """The system is asked for a name once a minute, and never by the reactor."""
        self.assertIsInstance(self.begin(self.peer(1001)), Deferred)
        self.threads.work()
        self.assertEqual(self.begin(self.peer(1001)).name, "alice")
        self.clock.advance(KEPT_S)
        self.assertIsInstance(self.begin(self.peer(1001)), Deferred)

    def test_names_of_the_system(self):
        """Root is root; a number without a name stands for itself."""
        self.assertEqual((name_of(0), name_of(2**31 - 5)), ("root", f"uid {2**31 - 5}"))


class AnonymousTests(GateCase):
    anonymous = True

    def test_everybody(self):
        """Whoever reaches the address is admin, with credentials or without, by address."""
        for headers in ({}, basic("alice", "wrong")):
            caller = self.begin(**headers)
            self.assertEqual((caller.name, caller.roles), ("anonymous", {ADMIN}))
            self.assertEqual(caller.key, THERE.key)

    def test_not_web_pages(self):
        """But no web page that leads its own name here."""
        self.refused(421, Host="evil.example")

    def test_not_on_the_socket(self):
        """There accounts count all the same."""
        peer = Peer(key="uid 4711", address="", uid=4711)
        self.refused(401, peer)


class CertificateTests(GateCase):
    def with_certificate(self, name):
        self.patch(
            __import__("vmcontroller.host.door.gatekeeper", fromlist=["x"]),
            "certified_name",
            lambda _transport: name,
        )

    def test_its_user(self):
        """A certificate is the user that it names; one that names nobody is 401."""
        self.with_certificate("alice")
        self.assertEqual(self.begin().roles, ALICE.roles)
        self.with_certificate("mallory")
        self.assertEqual(self.begin().status, "401 Unauthorized")

    def test_not_on_the_socket(self):
        """Certificates are no matter of the socket."""
        self.with_certificate("alice")
        self.refused(401, Peer(key="uid 4711", address="", uid=4711))
