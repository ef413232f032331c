"""What the host says to guests and what it does with what they say: its end of the words.

It knows STOMP messages on one side, and guests, commands and transfers on the other. Who sent a
message is what the broker has stamped on it, never what the message says of itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from typing_extensions import override

from vmcontroller.common.credentials import Credential
from vmcontroller.common.destinations import REQUESTS, bulk_of, requests_of
from vmcontroller.common.errors import BadArgument, GuestUnreachable, NotConnected
from vmcontroller.common.model import GuestId, guest_id
from vmcontroller.common.stomp.client import Message
from vmcontroller.common.words import (
    Utterance,
    Word,
    commands,
    files,
    hear,
    presence,
    running,
)
from vmcontroller.common.words.credentials import CredentialKept, NewCredential
from vmcontroller.host.broker.seldom import Seldom
from vmcontroller.host.commands.commands import Commands
from vmcontroller.host.guests import Guest, Guests
from vmcontroller.host.transfers.ears import TransferEars

HOST_ID = "VMController-Host"
LATENCY_INTERVAL_S = 60.0
"""A guest's latency is measured anew when its beacon comes after this time."""
LOG_INTERVAL_S = 10.0
"""In this time a guest's coming and going are worth LOG_LINES lines each in the log."""
LOG_LINES = 5
ABOUT_WHAT_RUNS = frozenset(
    word.NAME
    for word in (
        *(running.CmdStdin, running.CmdStdinRoom, running.CmdSignal, running.CmdSignalled),
        *(running.CmdAsk, running.CmdUsage),
    )
)
"""Words about commands that run on if these are not understood."""
SAY_HELLO = presence.Aint(word=presence.StillAlive.NAME, detail="say HELLO first")


class Owing(Protocol):
    """What new credentials guests have still to be given."""

    def owed(self, guest: GuestId) -> Credential | None:
        """Return the credential that this guest has still to be given."""
        ...

    def kept(self, guest: GuestId, generation: int) -> None:
        """Note that it has the one of this generation."""
        ...


class Conversation(TransferEars):
    """The host among its guests."""

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        send: Callable[[str, bytes, Mapping[str, str]], None],
        gc_grace_s: float,
        agent_up: Callable[[Guest], None] = lambda _: None,
        agent_gone: Callable[[Guest, str], None] = lambda _, __: None,
    ) -> None:
        """`send` gives a message to the broker: destination, body, headers.

        `agent_up` gets each agent that comes, `agent_gone` each that goes, and why.
        """
        self._clock = clock
        self._send = send
        self._session = str(uuid4())
        self._seldom = Seldom(clock)
        self._pings: dict[str, tuple[GuestId, Deferred[None]]] = {}
        self._probes: dict[GuestId, tuple[str, float]] = {}
        """Pings that only measure: one a guest, and when it was sent."""
        self._agent_up = agent_up
        self._agent_gone = agent_gone
        self.guests = Guests(gc_grace_s=gc_grace_s, gone=self._gone)
        self.commands: Commands
        self.owing: Owing | None = None
        """None: an external broker knows who is who."""

    def say(self, guest: GuestId, word: Word, *, bulk: bool = False) -> None:
        """Say a word to one guest, or on its second connection; NotConnected without a broker."""
        self._say_at(bulk_of(guest) if bulk else requests_of(guest), guest, word)

    def say_to_all(self, word: Word) -> None:
        """Say a word on the topic that every guest hears; NotConnected without a broker."""
        self._say_at(REQUESTS, "*", word)

    def _say_at(self, destination: str, to: str, word: Word) -> None:
        said = word.how_to_say()
        headers = {"to": to, "from": HOST_ID, "timestamp": str(int(time.time())), **said.headers}
        self._send(destination, said.body, headers)

    def connected(self) -> None:
        """Ask all guests for their HELLO: what they said while nobody listened here is lost."""
        self.say_to_all(SAY_HELLO)

    def message(self, message: Message) -> None:
        """Take in a message from a guest, whatever it may hold."""
        try:
            sender = guest_id(message.headers.get("from", ""))
        except BadArgument:
            self._log.debug("a message without a sender is dropped")
            return
        self.guests.heard(sender, self._clock.seconds())
        word = hear(Utterance(headers=message.headers, body=message.body))
        try:
            word.listen_and_act(self, sender)
        except NotConnected as error:
            self._log.debug("no answer to {guest}: {error}", guest=sender, error=str(error))

    def ask_for_hello(self, guest: GuestId) -> None:
        """Let a guest say HELLO, and so tell what it holds and learn what is stored here."""
        self.say(guest, SAY_HELLO)

    async def ping(self, guest: GuestId, vm_name: str, timeout_s: float) -> None:
        """Return when the guest's agent has answered; it may still have to come.

        An agent that says HELLO meanwhile is asked (again). Raises GuestUnreachable after
        `timeout_s`.
        """
        answered: Deferred[None] = Deferred()
        timer = self._clock.callLater(
            timeout_s,
            lambda: answered.errback(
                GuestUnreachable(vm_name, f"PING timeout: no PONG within {timeout_s:g} s")
            ),
        )
        ping_id = str(uuid4())
        self._pings[ping_id] = (guest, answered)
        try:
            if self.guests.get(guest) is not None:
                self.say(guest, presence.Ping(ping_id=ping_id))
            await answered
        finally:
            del self._pings[ping_id]
            if timer.active():
                timer.cancel()

    def _gone(self, guest: Guest, why: str) -> None:
        more = self._line_due("gone", guest.id)
        if more is not None:
            self._log.info("guest {guest} is gone: {why}{more}", guest=guest.id, why=why, more=more)
        self._probes.pop(guest.id, None)
        self._agent_gone(guest, why)
        self.transfers.guest_lost(guest.id, why)

    def _line_due(self, kind: str, guest: GuestId) -> str | None:
        """Say whether to log what a guest can cause without end; see Seldom.due."""
        return self._seldom.due(kind, guest, interval_s=LOG_INTERVAL_S, lines=LOG_LINES)

    @override
    def unexpected(self, word: Word, sender: str) -> None:
        self._log.debug("{guest} said {word}, which is not for us", guest=sender, word=word.NAME)

    @override
    def heard_hello(self, word: presence.Hello, sender: str) -> None:
        guest = GuestId(sender)
        known = self.guests.get(guest)
        if known is not None and known.session == word.session and word.epoch < known.epoch:
            self._log.debug("{guest} has connected anew since that HELLO", guest=guest)
            return
        record = self._record(guest, word)
        before = self.guests.hello(record)
        more = None
        if before is None or before.session != word.session:
            if before is not None:
                self._agent_gone(before, "it was started anew")
            self._agent_up(record)
            more = self._line_due("came", guest)
        if more is not None:
            self._log.info(
                "HELLO from {guest} at {ip}, agent {version}{more}",
                guest=guest,
                ip=word.descriptor.ip,
                version=word.agent_version,
                more=more,
            )
        offsets = self.commands.hearing.reconcile(guest, word.commands, word.session)
        self.say(
            guest,
            presence.Hello(
                descriptor=presence.Descriptor(id=HOST_ID),
                session=self._session,
                protocol=record.protocol,
                commands=offsets,
            ),
        )
        self.transfers.guest_there(guest, anew=record.comes_anew_after(known))
        self._give_what_is_owed(record)
        self._measure(guest)
        for ping_id, (asked, _) in list(self._pings.items()):
            if asked == guest:
                self.say(guest, presence.Ping(ping_id=ping_id))

    def _record(self, guest: GuestId, word: presence.Hello) -> Guest:
        now = self._clock.seconds()
        return Guest(
            id=guest,
            descriptor=word.descriptor,
            session=word.session,
            agent_version=word.agent_version,
            since_s=now,
            last_heard_s=now,
            protocol=min(word.protocol, presence.PROTOCOL_VERSION),
            capabilities=word.capabilities,
            boot_id=word.boot_id,
            epoch=word.epoch,
        )

    def _give_what_is_owed(self, guest: Guest) -> None:
        if self.owing is None or guest.protocol < 2 or "credential" not in guest.capabilities:
            return
        new = self.owing.owed(guest.id)
        if new is not None:
            self.say(guest.id, NewCredential(login=new.login, passcode=new.passcode))

    def _measure(self, guest: GuestId) -> None:
        """Ping a guest for its latency; an answer that is still awaited counts no more."""
        now = self._clock.seconds()
        self._probes[guest] = (str(uuid4()), now)
        self.guests.note(guest, measured_s=now)
        self.say(guest, presence.Ping(ping_id=self._probes[guest][0]))

    @override
    def heard_bye(self, word: presence.Bye, sender: str) -> None:
        self.guests.leave(GuestId(sender), "it said BYE")

    @override
    def heard_still_alive(self, word: presence.StillAlive, sender: str) -> None:
        """Ask a guest that is unknown, after a restart of the daemon say, for its HELLO."""
        guest = GuestId(sender)
        record = self.guests.get(guest)
        if record is None or record.session != word.session:
            self.ask_for_hello(guest)
            return
        now = self._clock.seconds()
        self.guests.note(guest, load=word.load, figures=word.figures, figures_s=now)
        if now - record.measured_s >= LATENCY_INTERVAL_S:
            self._measure(guest)

    @override
    def heard_credential_kept(self, word: CredentialKept, sender: str) -> None:
        if self.owing is not None:
            self.owing.kept(GuestId(sender), word.generation)

    @override
    def heard_pong(self, word: presence.Pong, sender: str) -> None:
        guest = GuestId(sender)
        probe_id, sent_s = self._probes.get(guest, ("", 0.0))
        if probe_id == word.ping_id:
            del self._probes[guest]
            self.guests.note(guest, latency_s=self._clock.seconds() - sent_s)
            return
        asked, answered = self._pings.get(word.ping_id, (None, None))
        if asked == sender and answered is not None and not answered.called:
            answered.callback(None)

    @override
    def heard_aint(self, word: presence.Aint, sender: str) -> None:
        """End what the agent did not understand, instead of waiting for it."""
        self._log.debug(
            "{guest} and this host do not understand each other: {detail!r:.80}",
            guest=sender,
            detail=word.detail,
        )
        guest = GuestId(sender)
        if word.word not in ABOUT_WHAT_RUNS:
            self.commands.hearing.refused(guest, word.about, word.detail)
        failed = files.FileFailed(
            transfer_id=word.about, reason="PROTOCOL", detail=f"not understood: {word.detail:.200}"
        )
        self.transfers.heard_file_failed(failed, guest)

    @override
    def heard_cmd_started(self, word: commands.CmdStarted, sender: str) -> None:
        self.commands.hearing.heard_started(word, sender)

    @override
    def heard_cmd_output(self, word: commands.CmdOutput, sender: str) -> None:
        self.commands.hearing.heard_output(word, sender)

    @override
    def heard_cmd_result(self, word: commands.CmdResult, sender: str) -> None:
        self.commands.hearing.heard_result(word, sender)

    @override
    def heard_cmd_stdin_room(self, word: running.CmdStdinRoom, sender: str) -> None:
        self.commands.hearing.heard_room(word, sender)

    @override
    def heard_cmd_signalled(self, word: running.CmdSignalled, sender: str) -> None:
        self.commands.hearing.heard_signalled(word, sender)

    @override
    def heard_cmd_usage(self, word: running.CmdUsage, sender: str) -> None:
        self.commands.hearing.heard_usage(word, sender)
