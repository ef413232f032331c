"""Who listens: one method per word, so that host and guest each override what concerns them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from vmcontroller.common.words import commands, credentials, files, presence, running
    from vmcontroller.common.words.wording import Spoken, Utterance


class Word(ABC):
    """One word of the protocol; the words are frozen dataclasses."""

    __slots__ = ()

    NAME: ClassVar[str]

    @abstractmethod
    def how_to_say(self) -> Utterance:
        """Return the headers and the body that say this word."""

    @classmethod
    @abstractmethod
    def heard(cls, spoken: Spoken) -> Self:
        """Make the word from a message; ProtocolError when it is malformed."""

    def listen_and_act(self, ears: Ears, sender: str) -> None:
        """Call the method of `ears` that is named after this word: CMD_RUN's is `heard_cmd_run`.

        `sender` is who the broker says sent it.
        """
        getattr(ears, f"heard_{self.NAME.lower()}")(self, sender)


class Ears:
    """Does nothing but notice words that this side has no use for."""

    def unexpected(self, word: Word, sender: str) -> None:
        """Hear a word that is not said in this direction."""

    def heard_hello(self, word: presence.Hello, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_bye(self, word: presence.Bye, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_still_alive(self, word: presence.StillAlive, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_ping(self, word: presence.Ping, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_pong(self, word: presence.Pong, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_aint(self, word: presence.Aint, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_credential(self, word: credentials.NewCredential, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_credential_kept(self, word: credentials.CredentialKept, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_cmd_run(self, word: commands.CmdRun, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_cmd_started(self, word: commands.CmdStarted, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_cmd_output(self, word: commands.CmdOutput, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_cmd_result(self, word: commands.CmdResult, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_cmd_stored(self, word: commands.CmdStored, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_cmd_run_all(self, word: running.CmdRunAll, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_cmd_stdin(self, word: running.CmdStdin, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_cmd_stdin_room(self, word: running.CmdStdinRoom, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_cmd_signal(self, word: running.CmdSignal, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_cmd_signalled(self, word: running.CmdSignalled, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_cmd_ask(self, word: running.CmdAsk, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_cmd_usage(self, word: running.CmdUsage, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_file_put(self, word: files.FilePut, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_file_get(self, word: files.FileGet, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_file_ready(self, word: files.FileReady, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_file_data(self, word: files.FileData, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_file_hole(self, word: files.FileHole, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_file_credit(self, word: files.FileCredit, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_file_end(self, word: files.FileEnd, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_file_done(self, word: files.FileDone, sender: str) -> None:
        self.unexpected(word, sender)

    def heard_file_failed(self, word: files.FileFailed, sender: str) -> None:
        self.unexpected(word, sender)
