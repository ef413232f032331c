"""Any JSON in any word of a guest is refused, or counts for that guest alone."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.attacks.scene import NEIGHBOUR, TAKEN, Scene
from tests.integration.attacks.wire import Wire, word

DESCRIPTOR = {"id": "52:54:00:00:00:01", "ip": "", "uuid": "", "hostname": "h", "addresses": []}
FACTS = {"size": 1, "mode": 0o644, "mtime": 1}
WORDS: dict[str, tuple[dict[str, Any], str]] = {
    "HELLO": (
        {
            "descriptor": DESCRIPTOR,
            "session": "taken",
            "version": "1",
            "protocol": 2,
            "capabilities": ["commands"],
            "boot": "b",
            "epoch": 1,
            "commands": {"CMD": [0, 0]},
        },
        "",
    ),
    "STILL_ALIVE": ({"session": "taken", "load": 0.5}, ""),
    "PONG": ({}, "ping-id"),
    "AINT": ({"word": "PING", "detail": "d", "about": "a"}, ""),
    "CREDENTIAL_KEPT": ({"generation": 1}, ""),
    "CMD_STARTED": ({"pid": 1}, "cmd-id"),
    "CMD_OUTPUT": ({"stream": "stdout", "offset": 0}, "cmd-id"),
    "CMD_RESULT": (
        {
            "finished": True,
            "exitCodeOrSignal": 0,
            "resources": {"ru_utime": 0.5},
            "stdout-bytes": 1,
            "stderr-bytes": 0,
            "truncated": False,
            "timed-out": False,
            "error": "",
            "duration": 0.5,
        },
        "cmd-id",
    ),
    "FILE_READY": ({**FACTS, "credit": 1}, "transfer-id"),
    "FILE_DATA": ({"offset": 0}, "transfer-id"),
    "FILE_CREDIT": ({"credit": 1}, "transfer-id"),
    "FILE_END": ({"size": 1, "sha256": "00"}, "transfer-id"),
    "FILE_DONE": ({}, "transfer-id"),
    "FILE_FAILED": ({"reason": "IO_ERROR", "detail": ""}, "transfer-id"),
    "BYE": ({"descriptor": DESCRIPTOR}, ""),
}
"""What a guest may say, as an agent says it, and the header each needs."""

NOT_FOR_THE_HOST = (
    "PING",
    "CREDENTIAL",
    "CMD_RUN",
    "CMD_STORED",
    "FILE_PUT",
    "FILE_GET",
    "NO_WORD",
)

MANY_DIGITS = "9" * 4000

ODD: tuple[Any, ...] = (
    *(None, True, False, -1, 2**31, 2**63, 2**64, 0.5, -0.0, 1e308),
    *("", "x" * 70_000, "\0\x1b[2J\r\n", "\ud800", [], [None], [[0]], {}, {"": {}}, {"a": [-1]}),
    MANY_DIGITS,
    *([0] * 100_000, {str(number): [0, 0] for number in range(20_000)}),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def json_of(value: Any) -> bytes:
    """Return JSON also of numbers of more digits than Python writes."""
    return json.dumps(value).replace(f'"{MANY_DIGITS}"', MANY_DIGITS).encode()


class OddFieldsTests(Scene):
    """Attack: odd field types, unexpected fields, huge ints, deep nesting."""

    def setUp(self) -> None:
        super().setUp()
        self.taken = self.guest()
        self.about = {
            "cmd-id": self.api.runCmd(TAKEN, "true"),
            "transfer-id": "t",
            "ping-id": "p",
        }

    def say(self, name: str, fields: Any) -> None:
        """Say a word about its own command, so that it goes as deep as it can."""
        header = WORDS[name][1]
        about = {header.replace("-", "_"): self.about[header]} if header else {}
        self.taken.say(name, fields, b"payload", **about)

    def test_each_field_of_another_type(self) -> None:
        """Every field of every word with every odd value, alone; the others as they should be."""
        for name, (fields, _) in WORDS.items():
            for key in fields:
                for value in ODD:
                    self.say(name, json_of({**fields, key: value}))
            for key in fields:
                self.say(name, {other: fields[other] for other in fields if other != key})
            for value in ODD:
                self.say(name, json_of({**fields, "unexpected": value}))
                self.say(name, json_of(value))
        self.settled(self.taken)

    def test_what_is_no_json(self) -> None:
        """NaN, infinities, repeated keys, broken text and numbers without end."""
        for name, (fields, _) in WORDS.items():
            for key in fields or {"x": 0}:
                quoted = json.dumps(key).encode()
                for text in (
                    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 100_000),
                    *(b"", b"0x10", b"'x'", b'"\xff\xfe"', b'"\\ud800"', b'"', b"[", b"{"),
                ):
                    self.say(name, b"{" + quoted + b":" + text + b"}")
                self.say(name, b"{" + quoted + b":1," + quoted + b':"2",' + quoted + b":[]}")
        self.settled(self.taken)

    def test_deep_nesting(self) -> None:
        """Brackets in brackets, as many as the parser just takes and many more."""
        depths = (16, 200, *range(880, 1000, 5), 5_000, 500_000)
        for name, (fields, _) in WORDS.items():
            for key in fields or {"x": 0}:
                quoted = json.dumps(key).encode()
                for depth in depths:
                    self.say(name, b"{" + quoted + b":" + b"[" * depth + b"]" * depth + b"}")
        for depth in depths[:-1]:
            self.say("HELLO", b'{"descriptor":' * depth + b"1" + b"}" * depth)
        self.settled(self.taken)

    def test_bodies_that_are_no_words(self) -> None:
        """Bodies of any octets, and words that only a host says."""
        bodies = [b"", b"\0", b"\n" * 1000, b"hello", b"A" * 33, b"HELLO\tx", b"\xff" * 100]
        bodies += [word(name, {"x": 1}) for name in NOT_FOR_THE_HOST]
        for body in bodies:
            for where in ("/topic/vmcontroller_connections", "/topic/vmcontroller_responses"):
                self.taken.send(where, body, cmd_id=self.about["cmd-id"])
        self.settled(self.taken)

    def test_headers_of_any_kind(self) -> None:
        """Ids that are long, empty, repeated or full of control characters."""
        for value in ("", "x" * 10_000, "\x1b[2J", "\\n\\c", "../../etc/passwd", "ü\u2028"):
            for name, (fields, header) in WORDS.items():
                if header:
                    self.taken.say(name, fields, b"x", **{header.replace("-", "_"): value})
        self.settled(self.taken)

    def test_any_json(self) -> None:
        """Whatever JSON there is; the neighbour's work goes on beside it."""

        @settings(
            max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        @given(st.sampled_from(sorted(WORDS)), json_values, st.data())
        def says(name: str, value: Any, data: Any) -> None:
            fields = WORDS[name][0]
            if fields and data.draw(st.booleans()):
                value = {**fields, data.draw(st.sampled_from(sorted(fields))): value}
            self.say(name, json.dumps(value).encode())

        says()
        self.settled(self.taken)
        self.assertEqual(self.daemon.run(NEIGHBOUR, "echo", "beside")["out"], "beside\n")


class UnknownWordTests(Scene):
    """Attack: words that make the host wait for ever."""

    def test_aint_ends_what_it_is_about(self) -> None:
        """A guest that does not understand a command has ended it, not left it hanging."""
        guest: Wire = self.guest()
        cmd_id = self.api.runCmd(TAKEN, "true")
        guest.hear("CMD_RUN")
        guest.say("AINT", {"word": "CMD_RUN", "detail": "what?", "about": cmd_id})
        result = self.api.waitCmd(cmd_id, 60)
        self.assertEqual((result["state"], result["error"]), ("lost", "REFUSED: what?"))
