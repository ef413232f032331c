"""What anybody can do to a door that has users: knock, push, wait, whisper and shout."""

from __future__ import annotations

import contextlib
from xmlrpc.client import Fault, ServerProxy, dumps

from tests.integration.attacks import door_attacks as attacks
from tests.integration.attacks.door_attacks import CALL, MIB, head, of_length
from tests.integration.attacks.door_scene import (
    ADMIN,
    BEARER,
    PASSWORD,
    READER,
    TOKEN,
    DoorScene,
    answer_of,
    basic,
)
from tests.integration.daemon import until
from vmcontroller.common.door_config import ROLES
from vmcontroller.host.users.passwords import hash_token
from vmcontroller.host.users.records import User
from vmcontroller.host.xmlrpc.table import METHODS

UNAUTHORIZED = "HTTP/1.1 401 Unauthorized"
TOO_OFTEN = "HTTP/1.1 429 Too Many Requests"


class StrangerTests(DoorScene):
    """Attack: call without having logged in, or as somebody else."""

    def test_nobody_calls_anything(self) -> None:
        """Without credentials, or with wrong ones, every request is 401 and nothing is done."""
        before = self.daemon.api.listVMs()
        for lines in (
            [],
            [basic("boss", "")],
            [basic("reader", "wrong")],
            [f"Authorization: Bearer {TOKEN[:-1]}"],
            ["Authorization: Basic"],
            [BEARER, "Authorization: Bearer x"],
        ):
            for body in (CALL, dumps(("vmctest-A", ""), "createVM").encode(), b"", b"<"):
                status = self.status(of_length(body, *lines))
                if status != TOO_OFTEN:  # other tests guess, too
                    self.assertEqual(status, UNAUTHORIZED, lines)
        for verb in ("GET", "PUT", "OPTIONS", "BREW"):
            self.assertEqual(self.status(head("Content-Length: 0", verb=verb)), UNAUTHORIZED, verb)
        self.assertEqual(self.daemon.api.listVMs(), before)

    def test_each_method_as_each_role(self) -> None:
        """A real call of every method as each role: refused exactly where the table says so."""
        tokens = {role: f"token of {role}" for role in ROLES}
        users = [
            User(name=role, roles=frozenset({role}), tokens=(hash_token(token),))
            for role, token in tokens.items()
        ]
        self.daemon.write_users(ADMIN, READER, *users)
        for role, token in tokens.items():
            header = [("Authorization", f"Bearer {token}")]
            with ServerProxy(self.daemon.url, headers=header) as client:
                self.assertEqual(client.whoAmI()["name"], role)
                for name, method in METHODS.items():
                    # More arguments than any takes: whoever may gets BAD_ARGUMENT, and no more.
                    with self.assertRaises(Fault) as caught:
                        getattr(client, name)(*["surplus"] * 20)
                    allowed = role in {method.role, "admin"} or method.role == "read"
                    wanted = "BAD_ARGUMENT" if allowed else "ACCESS_DENIED"
                    self.assertIn(wanted, caught.exception.faultString, f"{name} as {role}")

    def test_huge_bodies_are_not_read(self) -> None:
        """256 MB of a stranger: refused by the head; what is sent on stays in the kernel."""
        wire = self.wire()
        sent, answer = attacks.send_endlessly(wire, head(f"Content-Length: {256 * MIB}"), 256 * MIB)
        self.assertLess(sent, 64 * MIB)
        if answer:
            self.assertTrue(answer.startswith(UNAUTHORIZED.encode()), answer[:100])
        self.assertEqual(
            self.status(head(f"Content-Length: {256 * MIB}", "Expect: 100-continue")), UNAUTHORIZED
        )
        self.bounded()

    def test_guessing_passwords(self) -> None:
        """After ten wrong guesses of an address its next ones are not even looked at."""
        seen = {self.status(of_length(CALL, basic("reader", f"guess {n}"))) for n in range(14)}
        self.assertIn(TOO_OFTEN, seen)
        self.assertEqual(
            self.status(of_length(CALL, BEARER, "Connection: close"))[:12], "HTTP/1.1 200"
        )

    def test_web_pages(self) -> None:
        """DNS rebinding and other origins: a page's request is refused, even with credentials."""
        for host in ("evil.example", "localhost.evil.example:50505", "", "a b"):
            request = head(BEARER, f"Content-Length: {len(CALL)}", host=host) + CALL
            self.assertIn(self.status(request)[9:12], {"421", "400"}, host)
        self.assertEqual(
            self.status(of_length(CALL, BEARER, "Origin: http://evil.example"))[9:12], "400"
        )
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            request = of_length(CALL, BEARER).replace(b"text/xml", kind.encode())
            self.assertEqual(self.status(request)[9:12], "415", kind)

    def test_removed_users_are_out(self) -> None:
        """Who is taken out of the file is out within seconds, remembered or not."""
        self.daemon.write_users(
            ADMIN, User(name="leaver", roles=frozenset({"read"}), password=READER.password)
        )
        request = of_length(CALL, basic("leaver", PASSWORD), "Connection: close")
        until(lambda: self.status(request)[9:12] == "200", "the new user may call")
        self.daemon.write_users(ADMIN, READER)
        until(lambda: self.status(request)[9:12] in {"401", "429"}, "and then no more")


class BombTests(DoorScene):
    """Attack: bodies that are much larger than they look, or deeper, or other than they say."""

    def test_huge_body(self) -> None:
        """256 MB of somebody who may call: 413 by the announcement, or when it is too much."""
        for lines in (f"Content-Length: {256 * MIB}", "Transfer-Encoding: chunked"):
            wire = self.wire()
            piece = b"100000\r\n" + b" " * MIB + b"\r\n"
            wire.sendall(head(BEARER, lines))
            with contextlib.suppress(OSError):
                for _ in range(256):
                    wire.sendall(piece)
            with contextlib.suppress(OSError):
                self.assertIn(b" 413 ", wire.recv(1000))
            self.bounded()

    def test_entities(self) -> None:
        """A megabyte that becomes ninety, and the billion laughs: no document type is read."""
        for body in (attacks.entity_body(), attacks.billion_laughs()):
            for _ in range(5):
                self.assertIn(b"BAD_REQUEST: a document type declaration", self.post(body))
        self.bounded()

    def test_nesting(self) -> None:
        """Depth is refused where it begins, be it a thousand levels or a hundred thousand."""
        for levels in (40, 1000, 100_000):
            self.assertIn(
                b"BAD_REQUEST: elements are nested deeper", self.post(attacks.nested(levels))
            )
        self.bounded()

    def test_packed(self) -> None:
        """Nothing is unpacked."""
        self.assertIn(b" 415 ", self.post(CALL, "Content-Encoding: gzip"))


class SmugglingTests(DoorScene):
    """Attack: a request within a request, for those who disagree about where one ends."""

    def test_shapes(self) -> None:
        """What could be read in two ways is refused, once; what follows it is not a request."""
        inner = of_length(dumps(("vmctest-A smuggled", ""), "createVM").encode(), BEARER)
        for lines, body in (
            (["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\n"),
            (["Transfer-Encoding: chunked", "Content-Length: 5"], b"0\r\n\r\n"),
            (["Content-Length: 0", "Content-Length: 5"], b""),
            (["Content-Length: 0", "Content-Length: 0"], b""),
            (["Content-Length: +0"], b""),
            (["Content-Length: 0, 0"], b""),
            (["Content-Length: -1"], b""),
            (["Content-Length: 0x5"], b"12345"),
            (["Transfer-Encoding: xchunked"], b"0\r\n\r\n"),
            (["Transfer-Encoding: chunked, identity"], b"0\r\n\r\n"),
            (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], b"0\r\n\r\n"),
            (["Transfer-Encoding : chunked"], b"0\r\n\r\n"),
            (["Transfer-Encoding: chunked"], b"-1\r\n\r\n"),
            (["Transfer-Encoding: chunked"], b"0x0\r\n\r\n"),
        ):
            answer = self.say(head(BEARER, *lines) + body + inner)
            self.assertEqual(answer.count(b"HTTP/1.1"), 1, (lines, answer))
            self.assertTrue(answer.startswith(b"HTTP/1.1 400"), (lines, answer))
        self.assertNotIn("vmctest-A smuggled", self.daemon.api.listVMs())

    def test_after_a_refusal(self) -> None:
        """What follows a refused head on its connection is dropped, whoever it claims to be."""
        inner = of_length(dumps(("vmctest-A smuggled", ""), "createVM").encode(), BEARER)
        for first in (
            head("Content-Length: 0"),
            of_length(CALL),
            head(f"Content-Length: {len(inner)}"),
        ):
            answer = self.say(first + inner)
            self.assertEqual(answer.count(b"HTTP/1.1"), 1, answer)
            self.assertTrue(answer.startswith(UNAUTHORIZED.encode()))
        self.assertNotIn("vmctest-A smuggled", self.daemon.api.listVMs())

    def test_each_request_logs_in(self) -> None:
        """A connection on which somebody has logged in is nobody's at the next request."""
        answer = self.say(of_length(CALL, BEARER) + of_length(CALL))
        self.assertEqual(answer.count(b"HTTP/1.1 200"), 1)
        self.assertEqual(answer.count(UNAUTHORIZED.encode()), 1)


class CrowdTests(DoorScene):
    """Attack: very many connections; and the many that mean well."""

    def test_slow_connections(self) -> None:
        """1,000 that begin a request and never end it cost little memory, and nobody their call."""
        for piece in (b"", head()[:30], head(BEARER, "Content-Length: 1000000") + b" " * 100):
            with attacks.slow_connections(self.daemon.address, 1000, piece):
                for _ in range(20):
                    with self.daemon.new_client() as client:
                        self.assertEqual(client.whoAmI()["name"], "boss")
                self.bounded()

    def test_two_hundred_callers(self) -> None:
        """200 clients whose calls wait at the same time are all answered, and none is refused."""
        waiting = dumps((-1, 3, {"kinds": ["action"]}), "waitEvents").encode()
        wires = []
        for _ in range(200):
            wires.append(self.wire())
            wires[-1].sendall(of_length(waiting, BEARER, "Connection: close"))
        answers = [answer_of(wire) for wire in wires]
        self.assertEqual(sum(b"<name>next</name>" in answer for answer in answers), 200)

    def test_more_calls_than_may_be(self) -> None:
        """The 257th call of one user at once is BUSY; another user has theirs meanwhile."""
        waiting = dumps((-1, 600, {"kinds": ["action"]}), "waitEvents").encode()
        wires = [self.wire() for _ in range(256)]
        for wire in wires:
            wire.sendall(of_length(waiting, BEARER))

        def busy() -> bool:
            return (
                b"BUSY: 256 calls of &apos;boss&apos;" in self.post() or b"BUSY: 256" in self.post()
            )

        until(busy, "the next one is refused")
        self.daemon.write_users(
            ADMIN, READER, User(name="other", roles=frozenset({"read"}), tokens=(hash_token("o"),))
        )
        other = of_length(CALL, "Authorization: Bearer o", "Connection: close")
        self.assertEqual(self.status(other)[9:12], "200")
        for wire in wires:
            wire.close()
        until(lambda: b"BUSY" not in self.post(), "the others have hung up")
