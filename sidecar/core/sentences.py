"""The closed table of what an error page may say.

A person who meets an error reads one of these and a request id; what exactly went wrong is in the log. So
nothing that a provider, an upstream or a request said ever becomes the wording of a page of ours (S67).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["SENTENCES", "Sentence", "safe_sentence", "sentence_for"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A title, and what the person can do about it."""

    title: str
    message: str


_AGAIN: Final = "Please try again in a moment."

# By reason (`core.reasons`), and by the codes of a refused login.
SENTENCES: Final[Mapping[str, Sentence]] = MappingProxyType(
    {
        "bad_request": Sentence(
            "That request didn't work", "The address or the request was not in a form we can read."
        ),
        "forbidden": Sentence("This is not open to you", "You are not allowed to do that here."),
        "not_found": Sentence(
            "There is nothing here", "The address leads nowhere. Check it for a typing error."
        ),
        "method_refused": Sentence(
            "That doesn't work here", "This address does not take that kind of request."
        ),
        "too_large": Sentence("That was too large", "The request is larger than this site accepts."),
        "timeout": Sentence("That took too long", "The request did not arrive in time. Please try again."),
        "internal_error": Sentence("Something went wrong", "The fault is ours. " + _AGAIN),
        "unavailable": Sentence(
            "Not available right now", "Something this site depends on does not answer. " + _AGAIN
        ),
        "ambiguous_path": Sentence(
            "That address has two meanings",
            "The address can be read in more than one way, so it was refused.",
        ),
        "invalid_path": Sentence(
            "That address can't be read", "The address holds characters that have no place in one."
        ),
        "cross_origin": Sentence(
            "That came from another site",
            "The request was sent by a page of another site, so it was refused.",
        ),
        "unknown_host": Sentence("No such site here", "There is no site of this name at this address."),
        "login_failed": Sentence(
            "Signing in didn't work", "Please start again from the page you wanted to see."
        ),
        "login_cancelled": Sentence(
            "You are not signed in", "Signing in was cancelled or refused at the provider."
        ),
        "login_expired": Sentence(
            "That sign-in is no longer valid",
            "It took too long, was already used, or began in another browser. Please start again.",
        ),
        "email_unverified": Sentence(
            "Your e-mail address isn't confirmed", "Confirm it at your sign-in provider, then sign in again."
        ),
        "sign_out_failed": Sentence(
            "Signing out didn't work", "You may still be signed in. Please try again."
        ),
        "provider_unavailable": Sentence(
            "Sign-in is not available", "The sign-in provider does not answer. " + _AGAIN
        ),
        "store_unavailable": Sentence(
            "Not available right now", "Your session can't be looked up at the moment. " + _AGAIN
        ),
        "upstream_unavailable": Sentence("The application isn't answering", "It may be starting. " + _AGAIN),
        "upstream_broken": Sentence(
            "The application's answer broke off", "Nothing of it was kept. " + _AGAIN
        ),
        "upstream_timeout": Sentence("The application took too long", "It did not answer in time. " + _AGAIN),
    }
)

_BY_STATUS: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "bad_request",
        401: "login_failed",
        403: "forbidden",
        404: "not_found",
        405: "method_refused",
        408: "timeout",
        413: "too_large",
        414: "too_large",
        421: "unknown_host",
        431: "too_large",
        502: "upstream_unavailable",
        503: "unavailable",
        504: "upstream_timeout",
    }
)
_KNOWN: Final = frozenset((sentence.title, sentence.message) for sentence in SENTENCES.values())


def sentence_for(reason: str, status: int) -> Sentence:
    """Return the sentence of `reason`; without one, that of `status`."""
    general = "bad_request" if 400 <= status < 500 else "internal_error"  # noqa: PLR2004  the two classes
    return SENTENCES.get(reason) or SENTENCES[_BY_STATUS.get(status, general)]


def safe_sentence(status: object, title: object, message: object) -> tuple[str, str]:
    """Return title and message if they are a sentence of the table, else the sentence of `status`."""
    if isinstance(title, str) and isinstance(message, str) and (title, message) in _KNOWN:
        return title, message
    sentence = sentence_for("", status if isinstance(status, int) else 500)
    return sentence.title, sentence.message
