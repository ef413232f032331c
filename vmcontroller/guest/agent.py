"""The agent's ears: what it does with each word of the host, and when it speaks of itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from typing_extensions import override

from vmcontroller.common.credentials import Credential
from vmcontroller.common.errors import NotConnected
from vmcontroller.common.stomp.client import Message
from vmcontroller.common.words import (
    Ears,
    Utterance,
    Word,
    commands,
    files,
    hear,
    presence,
    running,
)
from vmcontroller.common.words.credentials import CredentialKept, NewCredential
from vmcontroller.guest.commands.runner import Runner
from vmcontroller.guest.files import GuestFiles
from vmcontroller.guest.identity import About
from vmcontroller.guest.voice import Voice

HELLO_FIRST_S = 3.0
HELLO_MOST_S = 30.0
"""HELLO is said again after this time without an answer; it doubles from the first on."""


class Agent(Ears):
    """Introduces the guest, keeps saying that it is alive, and acts on what the host says."""

    _log = Logger()

    def __init__(
        self,
        *,
        reactor: IReactorTime,
        voice: Voice,
        runner: Runner,
        files: GuestFiles,
        about: About,
        keep: Callable[[Credential], None],
        beacon_interval_s: float,
    ) -> None:
        """`keep` puts a new credential on the disk, and raises OSError where it can't."""
        self._reactor = reactor
        self._voice = voice
        self._runner = runner
        self._files = files
        self._about = about
        self._keep = keep
        self._epoch = 0
        self._beacon_interval_s = beacon_interval_s
        self._greeted = False
        self._host_session = ""
        self._owed_answers = 0
        """How many HELLOs were said on this connection that the host has not answered yet."""
        self._next: IDelayedCall | None = None

    # What happens to the connection.

    def connected(self) -> None:
        """There is a session: the host is told who is here."""
        self._owed_answers = 0
        self._epoch += 1
        self._introduce()

    def lost(self, reason: str) -> None:
        """There is none any more: commands go on, copies end."""
        self._later(0, None)
        self._greeted = False
        self._runner.connection_lost()
        self._files.connection_lost(reason)

    def message(self, message: Message) -> None:
        """Take in one message, whatever it may hold; what is no word is answered with AINT."""
        word = hear(Utterance(headers=message.headers, body=message.body))
        sender = message.headers.get("from", "")
        try:
            if isinstance(word, presence.Aint) and not message.body.startswith(b"AINT"):
                self._log.warn("{detail}", detail=word.detail)
                self._voice.say(word)
            else:
                word.listen_and_act(self, sender)
        except NotConnected as error:
            self._log.debug("no answer to {word}: {error}", word=word.NAME, error=error)

    async def stop(self) -> None:
        """End what runs, then say goodbye, if there is somebody to say it to."""
        self._later(0, None)
        await self._runner.stop()
        await self._files.stop()
        with contextlib.suppress(NotConnected):
            self._voice.say(presence.Bye(descriptor=self._about.descriptor()))

    # Speaking of itself.

    def _introduce(self) -> None:
        self._greeted = False
        self._runner.connection_lost()
        self._hello(HELLO_FIRST_S)

    def _hello(self, answer_within_s: float) -> None:
        self._later(answer_within_s, lambda: self._hello(min(2 * answer_within_s, HELLO_MOST_S)))
        hello = presence.Hello(
            descriptor=self._about.descriptor(),
            session=self._about.session,
            agent_version=self._about.version,
            capabilities=presence.CAPABILITIES,
            boot_id=self._about.boot_id,
            epoch=self._epoch,
            commands=self._runner.held(),
        )
        with contextlib.suppress(NotConnected):
            self._voice.say(hello)
            self._owed_answers += 1

    def _still_alive(self) -> None:
        self._later(self._beacon_interval_s, self._still_alive)
        with contextlib.suppress(NotConnected):
            self._voice.say(
                presence.StillAlive(
                    session=self._about.session,
                    load=self._about.load(),
                    figures=self._about.figures(),
                )
            )

    def _later(self, delay_s: float, what: Callable[[], None] | None) -> None:
        """Do this next, instead of what was to be next; None is nothing."""
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = self._reactor.callLater(delay_s, what) if what is not None else None

    # What the host says.

    @override
    def unexpected(self, word: Word, sender: str) -> None:
        self._log.warn("{word} is not said to a guest", word=word.NAME)
        self._voice.say(presence.Aint(word=word.NAME, detail=f"{word.NAME} ain't for a guest"))

    @override
    def heard_hello(self, word: presence.Hello, sender: str) -> None:
        """Take the answer to our HELLO; one that was not expected asks for another.

        A host that was slow to answer answers each HELLO that was said meanwhile. The first of
        its answers counts; a later one only if the host was restarted between the two.
        """
        owed = self._owed_answers > 0
        self._owed_answers -= owed
        if self._greeted and not owed:
            self._introduce()
            return
        if self._greeted and word.session == self._host_session:
            return
        self._greeted = True
        self._host_session = word.session
        protocol = min(word.protocol, presence.PROTOCOL_VERSION)
        self._log.info(
            "the host has answered; session {session}, protocol {protocol}",
            session=word.session,
            protocol=protocol,
        )
        self._files.host_speaks(protocol)
        self._later(self._beacon_interval_s, self._still_alive)
        self._runner.resume(word.commands)

    @override
    def heard_ping(self, word: presence.Ping, sender: str) -> None:
        self._voice.say(presence.Pong(ping_id=word.ping_id))

    @override
    def heard_aint(self, word: presence.Aint, sender: str) -> None:
        """Introduce ourselves again to a host that does not know us; else it is for the log."""
        if word.word == presence.StillAlive.NAME:
            self._introduce()
        else:
            self._log.warn("the host refused {word}: {detail}", word=word.word, detail=word.detail)

    @override
    def heard_credential(self, word: NewCredential, sender: str) -> None:
        """Keep it for the next connection, and say so: then the old one is good no more."""
        credential = Credential(login=word.login, passcode=word.passcode)
        try:
            self._keep(credential)
        except OSError as error:
            self._log.error("the new credential can't be kept: {error}", error=error)
            return
        self._log.info("the host has given this guest a new credential")
        self._voice.say(CredentialKept(generation=credential.generation))

    @override
    def heard_cmd_run(self, word: commands.CmdRun, sender: str) -> None:
        self._runner.heard_cmd_run(word)

    @override
    def heard_cmd_stored(self, word: commands.CmdStored, sender: str) -> None:
        self._runner.heard_cmd_stored(word)

    @override
    def heard_cmd_run_all(self, word: running.CmdRunAll, sender: str) -> None:
        self._runner.heard_cmd_run_all(word, self._voice.own_id)

    @override
    def heard_cmd_stdin(self, word: running.CmdStdin, sender: str) -> None:
        self._runner.heard_cmd_stdin(word)

    @override
    def heard_cmd_signal(self, word: running.CmdSignal, sender: str) -> None:
        self._runner.heard_cmd_signal(word)

    @override
    def heard_cmd_ask(self, word: running.CmdAsk, sender: str) -> None:
        self._runner.heard_cmd_ask(word)

    @override
    def heard_file_put(self, word: files.FilePut, sender: str) -> None:
        self._files.heard_file_put(word)

    @override
    def heard_file_get(self, word: files.FileGet, sender: str) -> None:
        self._files.heard_file_get(word)

    @override
    def heard_file_ready(self, word: files.FileReady, sender: str) -> None:
        self._files.heard_file_ready(word)

    @override
    def heard_file_data(self, word: files.FileData, sender: str) -> None:
        self._files.heard_file_data(word)

    @override
    def heard_file_hole(self, word: files.FileHole, sender: str) -> None:
        self._files.heard_file_hole(word)

    @override
    def heard_file_credit(self, word: files.FileCredit, sender: str) -> None:
        self._files.heard_file_credit(word)

    @override
    def heard_file_end(self, word: files.FileEnd, sender: str) -> None:
        self._files.heard_file_end(word)

    @override
    def heard_file_done(self, word: files.FileDone, sender: str) -> None:
        self._files.heard_file_done(word)

    @override
    def heard_file_failed(self, word: files.FileFailed, sender: str) -> None:
        self._files.heard_file_failed(word)
