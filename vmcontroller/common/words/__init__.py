"""The words host and guests speak: one class each, with `how_to_say` and `listen_and_act`.

The first token of a message's body is the word (seed 004). Whoever listens hands what came in
to `hear` and acts on the word it gets: an unknown or malformed one becomes AINT. A new
capability is a new word: a class in one of these modules and a line in `_WORDS`.
"""

from __future__ import annotations

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.words import commands, credentials, files, presence, running
from vmcontroller.common.words.ears import Ears, Word
from vmcontroller.common.words.presence import Aint
from vmcontroller.common.words.wording import Utterance, take_apart

__all__ = ["Ears", "Utterance", "Word", "hear"]

_WORDS: dict[str, type[Word]] = {
    word.NAME: word
    for word in (
        presence.Hello,
        presence.Bye,
        presence.StillAlive,
        presence.Ping,
        presence.Pong,
        presence.Aint,
        credentials.NewCredential,
        credentials.CredentialKept,
        commands.CmdRun,
        commands.CmdStarted,
        commands.CmdOutput,
        commands.CmdResult,
        commands.CmdStored,
        running.CmdRunAll,
        running.CmdStdin,
        running.CmdStdinRoom,
        running.CmdSignal,
        running.CmdSignalled,
        running.CmdAsk,
        running.CmdUsage,
        files.FilePut,
        files.FileGet,
        files.FileReady,
        files.FileData,
        files.FileHole,
        files.FileCredit,
        files.FileEnd,
        files.FileDone,
        files.FileFailed,
    )
}


def hear(utterance: Utterance) -> Word:
    """Return the word that was said; AINT, with the reason, for what is none.

    Never raises: what a guest sends may be anything.
    """
    name = ""
    about = next(
        filter(None, map(utterance.headers.get, ("cmd-id", "transfer-id", "batch-id"))), ""
    )
    try:
        spoken = take_apart(utterance)
        name = spoken.name
        if name not in _WORDS:
            return Aint(word=name, detail=f"{name} ain't a word here", about=about[:200])
        return _WORDS[name].heard(spoken)
    except ProtocolError as error:
        return Aint(word=name, detail=str(error)[:1000], about=about[:200])
