"""Signals and figures: each caller gets an answer, once, and a guest can't make one up."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred

from tests.host.commands.case import AGENT, GUEST, STRANGER, CommandsCase
from vmcontroller.common.errors import (
    BadArgument,
    DeadlinePassed,
    GuestUnreachable,
    NotConnected,
    Unsupported,
)
from vmcontroller.common.words.commands import CmdStarted
from vmcontroller.common.words.running import CmdAsk, CmdSignal, CmdSignalled, CmdUsage
from vmcontroller.host.commands.abilities import must_know
from vmcontroller.host.commands.asking import SIGNAL_DEADLINE_S, USAGE_DEADLINE_S, USAGE_FRESH_S
from vmcontroller.host.requests import RunOptions, run_request


class AskingCase(CommandsCase):
    def setUp(self) -> None:
        super().setUp()
        self.cmd_id = self.run_one()
        self.hearing.heard_started(CmdStarted(cmd_id=self.cmd_id, pid=1), GUEST)
        self.said.clear()

    def usage(self, **figures) -> CmdUsage:
        return CmdUsage(cmd_id=self.cmd_id, usage=figures)


class SignalTests(AskingCase):
    def kill(self, signal: str = "TERM") -> Deferred:
        return Deferred.fromCoroutine(self.commands.asking.signal(self.get(self.cmd_id), signal))

    def signalled(self, processes: int, signal: str = "TERM") -> CmdSignalled:
        return CmdSignalled(cmd_id=self.cmd_id, signal=signal, processes=processes)

    def test_answered(self) -> None:
        """The answer is how many processes got it; each caller has an answer of its own."""
        first, second, other = self.kill(), self.kill(), self.kill("KILL")
        self.assertEqual(
            [word for _, word in self.said],
            [CmdSignal(cmd_id=self.cmd_id, signal=signal) for signal in ("TERM", "TERM", "KILL")],
        )
        self.hearing.heard_signalled(self.signalled(3), STRANGER)
        self.hearing.heard_signalled(self.signalled(9, "HUP"), GUEST)
        for waiting in (first, second, other):
            self.assertNoResult(waiting)
        self.hearing.heard_signalled(self.signalled(2, "KILL"), GUEST)
        self.assertEqual(self.successResultOf(other), 2)
        self.hearing.heard_signalled(self.signalled(3), GUEST)
        self.assertEqual(self.successResultOf(first), 3)
        self.assertNoResult(second)
        self.hearing.heard_signalled(self.signalled(0), GUEST)
        self.assertEqual(self.successResultOf(second), 0)
        self.hearing.heard_signalled(self.signalled(1), GUEST)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_answer(self) -> None:
        """A guest that does not answer is a Fault in time."""
        waiting = self.kill()
        self.clock.advance(SIGNAL_DEADLINE_S)
        self.failureResultOf(waiting, DeadlinePassed)

    def test_it_ends_meanwhile(self) -> None:
        """A command that ends instead has nothing that could get a signal any more."""
        waiting = self.kill()
        self.hearing.heard_result(self.result(self.cmd_id), GUEST)
        self.assertEqual(self.successResultOf(waiting), 0)
        self.failureResultOf(self.kill(), BadArgument)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_to_ask(self) -> None:
        """Without the agent, with an old one, or without a broker, nothing is sent."""
        self.connected = False
        self.failureResultOf(self.kill(), NotConnected)
        self.connected = True
        self.guests[GUEST] = replace(AGENT, protocol=2)
        self.failureResultOf(self.kill(), Unsupported)
        del self.guests[GUEST]
        self.failureResultOf(self.kill(), GuestUnreachable)
        self.assertEqual(self.said, [])

    def test_daemon_stops(self) -> None:
        """Whoever waits is let go."""
        waiting = self.kill()
        self.now(self.commands.stop())
        self.failureResultOf(waiting, NotConnected)


class UsageTests(AskingCase):
    def refresh(self) -> Deferred:
        return Deferred.fromCoroutine(self.commands.asking.refresh_usage(self.get(self.cmd_id)))

    def test_one_question_for_many(self) -> None:
        """Those who ask at once share one question; figures of this second serve again."""
        waiting = [self.refresh() for _ in range(3)]
        self.assertEqual(self.said, [(GUEST, CmdAsk(cmd_id=self.cmd_id))])
        self.hearing.heard_usage(self.usage(user_s=1.5, threads=2, made_up=7), GUEST)
        for each in waiting:
            self.successResultOf(each)
        self.assertEqual(self.get(self.cmd_id).usage, {"user_s": 1.5, "threads": 2})
        self.successResultOf(self.refresh())
        self.clock.advance(USAGE_FRESH_S)
        again = self.refresh()
        self.assertEqual(len(self.said), 2)
        self.hearing.heard_usage(self.usage(user_s=2.0), GUEST)
        self.successResultOf(again)

    def test_no_answer(self) -> None:
        """A guest that does not answer holds nobody up; the figures of before remain."""
        waiting = self.refresh()
        self.clock.advance(USAGE_DEADLINE_S)
        self.successResultOf(waiting)
        self.hearing.heard_usage(self.usage(user_s=9.0), GUEST)
        self.assertEqual(self.get(self.cmd_id).usage, {})

    def test_what_is_not_asked(self) -> None:
        """Who has ended, is away or does not know the word is not asked."""
        self.connected = False
        waiting = self.refresh()
        self.clock.advance(USAGE_DEADLINE_S)
        self.successResultOf(waiting)
        self.connected = True
        self.guests[GUEST] = replace(AGENT, protocol=2)
        self.successResultOf(self.refresh())
        self.guests[GUEST] = AGENT
        self.hearing.heard_result(self.result(self.cmd_id), GUEST)
        said = len(self.said)
        self.successResultOf(self.refresh())
        self.assertEqual(len(self.said), said)


class AbilityTests(CommandsCase):
    def test_old_agents(self) -> None:
        """An agent that would ignore an option is not given the command."""
        old = replace(AGENT, protocol=2)

        def spec(**options):
            return run_request(
                cmd="x", args=(), env={}, path="", file_for_stdin="", options=RunOptions(**options)
            ).spec

        must_know(old, "vm", spec(user="u", timeout_s=5, stdin=b"x", output_limit_bytes=1))
        for options, name in (
            ({"group": "g"}, "group"),
            ({"umask": 0}, "umask"),
            ({"nice": 1}, "nice"),
            ({"replace_env": True}, "replaceEnv"),
            ({"kill_after_s": 1.0}, "killAfter"),
            ({"stdin_open": True}, "stdinOpen"),
            ({"stdin_from_host": "/f"}, "stdinFromHost"),
        ):
            error = self.assertRaises(Unsupported, must_know, old, "vm", spec(**options))
            self.assertIn(name, str(error))
            must_know(replace(AGENT, protocol=3), "vm", spec(**options))
