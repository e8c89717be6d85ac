"""The core's word on an upstream's answer head (skeleton)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.application import AnswerHead
    from sidecar.core.decision import Finish
    from sidecar.core.http import HeaderPair

__all__ = ["finish_answer"]


def finish_answer(finish: Finish, status: int, headers: list[HeaderPair]) -> AnswerHead:
    """Return what of an answer's head reaches the downstream."""
    raise NotImplementedError
