"""Presence: who is there, from HELLO to silence."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.model import guest_id
from vmcontroller.common.words.presence import Descriptor
from vmcontroller.host.guests import Guest, Guests

ID = guest_id("52:54:00:00:00:01")
GUEST = Guest(
    id=ID,
    descriptor=Descriptor(id=ID),
    session="one",
    agent_version="1",
    since_s=100.0,
    last_heard_s=100.0,
)


class GuestsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.gone = []
        self.guests = Guests(gc_grace_s=30, gone=lambda guest, why: self.gone.append(why))

    def test_hello_and_bye(self) -> None:
        """A guest is there from its HELLO to its BYE, and its going is told once."""
        self.assertIsNone(self.guests.get(ID))
        self.assertIsNone(self.guests.hello(GUEST))
        self.assertEqual(self.guests.get(ID), GUEST)
        self.guests.leave(ID, "it said BYE")
        self.guests.leave(ID, "it said BYE")
        self.assertIsNone(self.guests.get(ID))
        self.assertEqual(self.gone, ["it said BYE"])

    def test_hello_again_in_the_same_session(self) -> None:
        """A reconnected agent has been there since its first HELLO."""
        self.guests.hello(GUEST)
        before = self.guests.hello(replace(GUEST, since_s=150, last_heard_s=150))
        self.assertEqual(before, GUEST)
        self.assertEqual(self.guests.get(ID).since_s, 100)
        self.assertEqual(self.guests.get(ID).last_heard_s, 150)

    def test_hello_of_a_restarted_agent(self) -> None:
        """A new session is a new guest."""
        self.guests.hello(GUEST)
        self.guests.hello(replace(GUEST, session="two", since_s=150))
        self.assertEqual(self.guests.get(ID).since_s, 150)

    def test_another_connection(self) -> None:
        """Session or epoch tell it; agents of old count none, so each HELLO may be of another."""
        now = replace(GUEST, protocol=3, epoch=2)
        self.assertTrue(now.comes_anew_after(None))
        self.assertFalse(now.comes_anew_after(now))
        self.assertTrue(now.comes_anew_after(replace(now, epoch=1)))
        self.assertTrue(now.comes_anew_after(replace(now, session="two")))
        old = replace(now, protocol=2)
        self.assertTrue(old.comes_anew_after(old))

    def test_silence(self) -> None:
        """A guest unheard for longer than the grace is gone; a heard one stays."""
        self.guests.hello(GUEST)
        self.guests.expire(130)
        self.assertIsNotNone(self.guests.get(ID))
        self.assertTrue(self.guests.heard(ID, 131))
        self.guests.expire(160)
        self.assertIsNotNone(self.guests.get(ID))
        self.guests.expire(161.5)
        self.assertIsNone(self.guests.get(ID))
        self.assertEqual(self.gone, ["unheard for 30 s"])

    def test_stranger(self) -> None:
        """Who has not said HELLO is not made a guest by speaking."""
        self.assertFalse(self.guests.heard(ID, 1))
        self.assertIsNone(self.guests.get(ID))
