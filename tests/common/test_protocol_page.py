"""docs/protocol.md is complete: every word and field is on it, and its example is right."""

from __future__ import annotations

import json
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.common.test_words import EVERY_WORD
from vmcontroller.common import words
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.stomp.frames import Version
from vmcontroller.common.stomp.parser import Parser
from vmcontroller.common.words import Utterance, hear
from vmcontroller.common.words.presence import Aint, Hello

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")


def part_about(word: str) -> str:
    """Return what follows a word's bold name, up to the end of its group."""
    _, _, rest = PAGE.partition(f"**{word}**")
    return rest.split("\n## ")[0].split("\n### ")[0]


def group_of(word: str) -> str:
    """Return the section about a word and its like."""
    return next(part for part in PAGE.split("\n### ") if f"**{word}**" in part)


class ProtocolPageTests(SynchronousTestCase):
    def test_every_word_is_there(self) -> None:
        """Each word that host or guest understands, in bold."""
        known = set(words._WORDS)
        self.assertEqual({word.NAME for word in EVERY_WORD}, known)
        for name in known:
            self.assertIn(f"**{name}**", PAGE)

    def test_every_field_is_there(self) -> None:
        """Each field and header that a word is said with, behind its name."""
        for word in EVERY_WORD:
            said = word.how_to_say()
            line = said.body.split(b"\n")[0].decode()
            fields = json.loads(line.partition(" ")[2] or "{}")
            if isinstance(word, Hello):
                fields |= fields["descriptor"]
            for key in fields.keys() - said.headers:
                self.assertIn(f"`{key}`", part_about(word.NAME), f"{word.NAME}: {key}")
            for key in said.headers:
                self.assertIn(f"`{key}`", group_of(word.NAME), f"{word.NAME}: {key}")

    def test_every_reason_is_there(self) -> None:
        """Each reason of FILE_FAILED, and each that a command could not be run for."""
        for reason in (
            *Reason,
            *("COMMAND_NOT_FOUND", "COMMAND_NOT_EXECUTABLE", "BAD_PATH", "NO_SUCH_USER"),
            *("NO_SUCH_GROUP", "USER_REFUSED", "NICE_REFUSED", "BAD_STDIN", "TOO_MANY_COMMANDS"),
            *("NO_RESOURCES", "AGENT_RESTARTED", "GUEST_RESTARTED"),
        ):
            self.assertIn(reason, PAGE)

    def test_the_example(self) -> None:
        """What the example's guest sends are frames of STOMP, and words with what they need."""
        example = PAGE.partition("## A session, octet by octet")[2]
        sent = "\n".join(
            line.removeprefix(">").removeprefix(" ")
            for line in example.splitlines()
            if line.startswith(">")
        )
        parser = Parser(version=Version.V1_2)
        frames = parser.feed(sent.replace("^@\n", "\0\n").replace("^@", "\0").encode() + b"\n")
        self.assertEqual(
            [frame.command for frame in frames][:3], ["SUBSCRIBE", "SUBSCRIBE", "SEND"]
        )
        said = [frame for frame in frames if frame.command == "SEND"]
        self.assertEqual(len(said), len(re.findall(r"^> (?:.*\^@)?SEND$", example, re.MULTILINE)))
        for frame in said:
            word = hear(Utterance(headers=dict(frame.headers), body=frame.body))
            self.assertNotIsInstance(word, Aint)
