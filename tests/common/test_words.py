"""Words: what is said is what is heard, and nothing a guest can send does harm."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.model import CommandResult, CommandSpec
from vmcontroller.common.words import Ears, Utterance, hear
from vmcontroller.common.words.commands import (
    CmdOutput,
    CmdResult,
    CmdRun,
    CmdStarted,
    CmdStored,
)
from vmcontroller.common.words.credentials import CredentialKept, NewCredential
from vmcontroller.common.words.files import (
    FileCredit,
    FileData,
    FileDone,
    FileEnd,
    FileFacts,
    FileFailed,
    FileGet,
    FileHole,
    FilePut,
    FileReady,
)
from vmcontroller.common.words.presence import (
    Aint,
    Bye,
    Descriptor,
    Hello,
    Ping,
    Pong,
    StillAlive,
)
from vmcontroller.common.words.running import (
    USAGE,
    CmdAsk,
    CmdRunAll,
    CmdSignal,
    CmdSignalled,
    CmdStdin,
    CmdStdinRoom,
    CmdUsage,
)

FACTS = FileFacts(
    size_bytes=20_000_000_000,
    mode=0o644,
    mtime_ns=1_790_000_000_123_456_789,
    owner="nobody",
    group="nogroup",
    tree=True,
)
UNUSUAL = CommandSpec(
    cmd="sh",
    args=("-c", "echo '[[[[' \n\"ü\""),
    env={"A": "1\n2"},
    path="/tmp",
    stdin=b"\x00\n\xff",
    timeout_s=1.5,
    user="nobody",
    output_limit_bytes=10,
    replace_env=True,
    group="nogroup",
    umask=0o027,
    nice=-5,
    stdin_open=True,
    kill_after_s=1.5,
)
"""Nothing of it is as usual."""
WHO = Descriptor(id="52:54:00:00:00:01", ip="192.168.122.7", uuid="u", hostname="gäst")
EVERY_WORD = (
    Hello(descriptor=WHO, session="s", agent_version="1", commands={"a": (1, 2), "b": (0, 0)}),
    Bye(descriptor=WHO),
    StillAlive(session="s", load=0.5, figures={"cpu": 12.5, "memory.total": 1024}),
    Ping(ping_id="p"),
    Pong(ping_id="p"),
    Aint(word="WHAT", detail="no such word", about="c"),
    CmdRun(cmd_id="c", spec=UNUSUAL),
    NewCredential(login="u", passcode="3-ab"),
    CredentialKept(generation=3),
    CmdStarted(cmd_id="c", pid=4711),
    CmdOutput(cmd_id="c", stream="stderr", offset=7, data=b"\n\x00 {}"),
    CmdResult(
        result=CommandResult(
            cmd_id="c",
            finished=False,
            exit_code_or_signal=9,
            resources={"ru_utime": 0.25, "ru_maxrss": 1024},
            stdout_bytes=3,
            stderr_bytes=4,
            truncated=True,
            timed_out=True,
            error="E: x",
            duration_s=2.5,
            lost=True,
        )
    ),
    CmdStored(cmd_id="c"),
    CmdRunAll(batch_id="b", cmd_ids={"52:54:00:00:00:01": "b.1"}, spec=UNUSUAL),
    CmdStdin(cmd_id="c", offset=3, data=b"\n\x00", end=True),
    CmdStdinRoom(cmd_id="c", taken_bytes=3, room_bytes=9, closed=True),
    CmdSignal(cmd_id="c", signal="TERM"),
    CmdSignalled(cmd_id="c", signal="TERM", processes=3),
    CmdAsk(cmd_id="c"),
    CmdUsage(cmd_id="c", usage=dict.fromkeys(USAGE, 1.5)),
    FilePut(transfer_id="t", path="/a b\n'ü", facts=FACTS, resume=True),
    FileGet(
        transfer_id="t",
        path="/a",
        credit_bytes=1024,
        tree=True,
        owner=True,
        have_bytes=5,
        have_sha256="cd" * 32,
    ),
    FileReady(
        transfer_id="t",
        facts=FACTS,
        credit_bytes=1,
        have_bytes=5,
        have_sha256="cd" * 32,
        bulk=True,
    ),
    FileHole(transfer_id="t", offset=5, length_bytes=2**40),
    FileData(transfer_id="t", offset=5, data=bytes(range(256))),
    FileCredit(transfer_id="t", credit_bytes=2**40),
    FileEnd(transfer_id="t", size_bytes=3, sha256="ab" * 32),
    FileDone(transfer_id="t"),
    FileFailed(transfer_id="t", reason="NO_SUCH_FILE", detail="/a"),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


class WordsTests(SynchronousTestCase):
    def test_what_is_said_is_heard(self) -> None:
        """Each word comes out of its message as it went in, raw bytes and all."""
        for word in EVERY_WORD:
            self.assertEqual(hear(word.how_to_say()), word)

    def test_first_token_is_the_word(self) -> None:
        """A body begins with the word's name, as seed 004 has it."""
        for word in EVERY_WORD:
            body = word.how_to_say().body
            self.assertEqual(body.split(b"\n")[0].split(b" ")[0], word.NAME.encode())

    def test_headers_are_few_and_short(self) -> None:
        """Whatever a command or a path holds, it is in the body: brokers bound headers."""
        for word in EVERY_WORD:
            headers = word.how_to_say().headers
            self.assertLess(len(headers), 4)
            self.assertTrue(all(len(value) < 200 for value in headers.values()))

    def test_each_word_has_its_ear(self) -> None:
        """Whoever overrides nothing notices every word as unexpected, with its sender."""
        noticed = []

        class Noticing(Ears):
            def unexpected(self, word, sender):
                noticed.append((word, sender))

        for word in EVERY_WORD:
            word.listen_and_act(Noticing(), "me")
        self.assertEqual(noticed, [(word, "me") for word in EVERY_WORD])

    def test_bytes_of_a_file_are_not_copied(self) -> None:
        """They are a part of the message; but a small part is, so that padding can't be kept."""
        for padding, kind in ((0, memoryview), (1000, bytes)):
            line = b'FILE_DATA {"offset":0' + b" " * padding + b"}"
            headers = {"transfer-id": "t"}
            word = hear(Utterance(headers=headers, body=line + b"\n" + b"x" * 100))
            assert isinstance(word, FileData)
            self.assertIsInstance(word.data, kind)
            self.assertEqual(bytes(word.data), b"x" * 100)

    def test_unknown_word(self) -> None:
        """A word of a later version becomes AINT and names itself."""
        heard = hear(Utterance(body=b"CMD_TELEPORT {}"))
        self.assertIsInstance(heard, Aint)
        self.assertEqual(heard.word, "CMD_TELEPORT")

    def test_missing_header(self) -> None:
        """A PING without its id can't be answered and is told so."""
        heard = hear(Utterance(body=b"PING"))
        self.assertIsInstance(heard, Aint)
        self.assertIn("ping-id", heard.detail)

    def test_numbers_that_are_none(self) -> None:
        """NaN, infinities and numbers of a thousand digits never get past a word."""
        said = next(word for word in EVERY_WORD if isinstance(word, CmdResult)).how_to_say()
        for number in (b"NaN", b"-Infinity", b"1e999", b"9" * 1000, b"true", b'"1"'):
            body = said.body.replace(b"0.25", number)
            heard = hear(Utterance(headers=said.headers, body=body))
            self.assertIsInstance(heard, Aint, number)
            self.assertEqual(heard.about, "c")

    def test_deep_nesting(self) -> None:
        """A million brackets are refused like any other wrong value."""
        heard = hear(Utterance(body=b"HELLO " + b"[" * 1_000_000))
        self.assertIsInstance(heard, Aint)

    @given(st.sampled_from(EVERY_WORD), st.dictionaries(st.text(max_size=8), json_values))
    def test_odd_fields(self, word, fields) -> None:
        """Any JSON in place of a word's own gives that word or AINT, never an exception."""
        said = word.how_to_say()
        body = word.NAME.encode() + b" " + json.dumps(fields).encode() + b"\npayload"
        heard = hear(Utterance(headers=said.headers, body=body))
        self.assertIsInstance(heard, (type(word), Aint))

    @given(st.sampled_from(EVERY_WORD), st.data())
    def test_one_odd_value(self, word, data) -> None:
        """Each field by itself may be of any type; at worst the word is refused."""
        said = word.how_to_say()
        line, _, payload = said.body.partition(b"\n")
        _, _, text = line.partition(b" ")
        fields = json.loads(text or b"{}")
        if fields:
            fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(json_values)
        body = word.NAME.encode() + b" " + json.dumps(fields).encode() + b"\n" + payload
        heard = hear(Utterance(headers=said.headers, body=body))
        self.assertIsInstance(heard, (type(word), Aint))

    @given(st.binary(max_size=200))
    def test_garbage(self, body) -> None:
        """Garbage is AINT."""
        self.assertIsNotNone(hear(Utterance(body=body)))
