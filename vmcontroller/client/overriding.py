"""`override` without what typing_extensions costs at the start: 14 ms of 60."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

__all__ = ["override"]

if TYPE_CHECKING:
    from typing_extensions import override
else:
    T = TypeVar("T")

    def override(method: T) -> T:
        """Say that a method overrides one of a class above; type checkers look."""
        return method
