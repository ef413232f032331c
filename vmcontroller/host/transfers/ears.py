"""The words about files, as the host hears them: each goes to the copies."""

from __future__ import annotations

from typing_extensions import override

from vmcontroller.common.model import GuestId
from vmcontroller.common.words import Ears, files
from vmcontroller.host.transfers.transfers import Transfers


class TransferEars(Ears):
    """Hears them for whoever is among guests."""

    transfers: Transfers

    @override
    def heard_file_ready(self, word: files.FileReady, sender: str) -> None:
        self.transfers.heard_file_ready(word, GuestId(sender))

    @override
    def heard_file_data(self, word: files.FileData, sender: str) -> None:
        self.transfers.heard_file_data(word, GuestId(sender))

    @override
    def heard_file_hole(self, word: files.FileHole, sender: str) -> None:
        self.transfers.heard_file_hole(word, GuestId(sender))

    @override
    def heard_file_credit(self, word: files.FileCredit, sender: str) -> None:
        self.transfers.heard_file_credit(word, GuestId(sender))

    @override
    def heard_file_end(self, word: files.FileEnd, sender: str) -> None:
        self.transfers.heard_file_end(word, GuestId(sender))

    @override
    def heard_file_done(self, word: files.FileDone, sender: str) -> None:
        self.transfers.heard_file_done(word, GuestId(sender))

    @override
    def heard_file_failed(self, word: files.FileFailed, sender: str) -> None:
        self.transfers.heard_file_failed(word, GuestId(sender))
