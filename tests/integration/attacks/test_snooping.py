"""A guest hears what is for all or for itself, and speaks to the host only."""

from __future__ import annotations

from tests.integration.attacks.scene import NEIGHBOUR, Scene, topic_of
from tests.integration.attacks.wire import CONNECTIONS, REQUESTS, RESPONSES, connect, frame


class OthersTopicsTests(Scene):
    """Attack: subscribe to others' topics, or speak where only the host does."""

    def others(self) -> tuple[str, ...]:
        """Return destinations that are none of a guest's business."""
        own, other = topic_of(self.own_id), topic_of(self.neighbours_id)
        return (
            other,
            f"{REQUESTS}.{self.neighbours_id}",
            RESPONSES.removeprefix("/topic/"),
            *(f"{REQUESTS}.{wild}" for wild in ("*", "#", ">", "**", "?", "+")),
            *(f"/topic/{wild}" for wild in ("*", "#", ">", "vmcontroller_*", "")),
            f"{own},{other}",
            f"{own}/../{other.rpartition('.')[2]}",
            f"{own}?consumer.exclusive=true",
            own.upper(),
            f" {own}",
            f"{own} ",
            f"{REQUESTS}/",
            f"/queue/{own.removeprefix('/topic/')}",
            "/queue/jobs",
            "/queue/*",
            "/exchange/amq.topic/#",
            "/temp-queue/x",
            "/dsub/x",
            "$SYS/#",
            "",
        )

    def test_subscribing(self) -> None:
        """Each is refused with ERROR and the end of the connection; wildcards are only names."""
        for destination in (*self.others(), CONNECTIONS, RESPONSES):
            wire = self.logged_in()
            wire.subscribe(destination)
            self.refused(wire)

    def test_sending(self) -> None:
        """So is what is sent to another guest, to all guests, or past the host."""
        for destination in (*self.others(), REQUESTS, topic_of(self.own_id)):
            wire = self.logged_in()
            wire.send(destination, b"CMD_RUN {}", cmd_id="x")
            self.refused(wire)

    def test_sending_in_a_transaction(self) -> None:
        """A transaction is no way around."""
        wire = self.logged_in()
        wire.write(frame("BEGIN", [("transaction", "t")]))
        wire.send(topic_of(self.neighbours_id), b"PING", transaction="t")
        self.refused(wire, "may not send")

    def test_nothing_of_others_comes(self) -> None:
        """With all that it may subscribe to, a guest hears nothing of its neighbour's work."""
        guest = self.guest()
        guest.subscribe(REQUESTS, "all")
        self.daemon.run(NEIGHBOUR, "echo", "a secret of the neighbour")
        receipt = ("receipt", "last")
        guest.write(frame("UNSUBSCRIBE", [("id", "all"), receipt]))
        while (heard := guest.frame()).header("receipt-id") != "last":
            self.assertNotIn(b"secret", heard.body)
            if heard.command == "MESSAGE":
                self.assertIn(heard.header("to"), (self.own_id, "*"))


class NobodyTests(Scene):
    """Attack: use something without having logged in."""

    def test_before_connect(self) -> None:
        """Nothing works before CONNECT: each frame of STOMP is refused, and ends the connection."""
        destination = ("destination", RESPONSES)
        for command in (
            *("SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT"),
            *("ABORT", "DISCONNECT", "CONNECTED", "MESSAGE", "RECEIPT", "ERROR"),
        ):
            wire = self.wire()
            headers = [destination, ("id", "1"), ("transaction", "t"), ("receipt", "r")]
            wire.write(frame(command, headers))
            self.refused(wire, "the first frame must be CONNECT")

    def test_without_a_login(self) -> None:
        """CONNECT or STOMP without login and passcode, or with empty ones, is refused."""
        for octets in (
            frame("CONNECT", [("accept-version", "1.2")]),
            frame("STOMP", [("accept-version", "1.0,1.1")]),
            frame("CONNECT"),
            connect("", ""),
        ):
            wire = self.wire()
            wire.write(octets)
            self.refused(wire, "is refused")

    def test_a_refusal_tells_nothing(self) -> None:
        """An unknown login and a wrong passcode are answered in the same words."""
        answers = []
        for login in (self.api.getGuest(NEIGHBOUR)["uuid"], "stranger"):
            answer = self.wire().log_in(login, "1-0")
            answers.append((answer.header("message") or "").replace(login, "LOGIN"))
        self.assertEqual(answers[0], answers[1])
