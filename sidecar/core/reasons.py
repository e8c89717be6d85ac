"""The closed lists of reason codes and event names: one vocabulary for logs, metrics and `explain`.

A reason says why a decision is what it is. `Note.reason` is always one of `REASONS` (a test holds every
use against this table), so that metrics have bounded labels.
"""

from __future__ import annotations

from typing import Final

__all__ = ["EVENTS", "REASONS", "WARNINGS"]

REASONS: Final[dict[str, str]] = {
    # forwarded
    "allowed": "the rule admits this identity",
    "allowed_anyone": "the rule admits anyone",
    "allowed_preflight": "a CORS preflight that the rule lets through",
    # sent to sign in, or told to
    "login_required": "no session: a navigation, sent to sign in",
    "login_required_api": "no session: not a navigation, answered 401",
    "session_expired": "the session's idle or absolute limit has passed",
    "session_ended_form": "a form was sent after its session had ended: answered with a page that says so",
    "session_revoked": "the session was signed out or revoked",
    # refused
    "denied": "the rule does not admit this identity",
    "no_rule": "no rule matches: denied",
    "no_route": "no upstream of the site serves this path",
    "cross_origin": "a cookie-authenticated unsafe request or WebSocket from another origin",
    "unknown_host": "no site has this host",
    "ambiguous_path": "the readings of the path disagree",
    "invalid_path": "the path holds something that no reading accepts",
    "invalid_request": "the request's head or body is malformed",
    "invalid_forwarded": "a forwarded header from a trusted proxy is malformed",
    "method_refused": "this method is not served (CONNECT, TRACE, or one that an endpoint does not know)",
    "too_large": "a limit on the request's size was reached",
    "timeout": "the request did not arrive in time",
    # our own endpoints
    "login_started": "sent to the provider",
    "sign_in_page": "the sign-in page",
    "login_completed": "the callback completed a login",
    "login_failed": "the callback was refused",
    "login_loop": "the browser keeps coming back without its cookie",
    "handoff_started": "no session at this host: the browser is sent to where logins begin, to get it",
    "handoff_given": "the session is put aside for the host that asked, under a one-time code",
    "handoff_completed": "the host that asked has the session",
    "handoff_refused": "a session was not handed over",
    "signed_out": "signed out, or the pages around it",
    "caller_refused": "a peer that may not ask about requests of others",
    "own_endpoint": "an ingress asked about an endpoint of ours, which it has to send to us instead",
    "own_page": "another page or document of ours",
    "unknown_endpoint": "a path under our prefix that is none of our endpoints",
    # the surroundings
    "provider_unavailable": "the provider does not answer",
    "store_unavailable": "the session store does not answer",
    "upstream_unavailable": "the upstream can't be reached",
    "upstream_broken": "the upstream answered with something that is not HTTP, or broke off",
    "upstream_timeout": "the upstream did not answer in time",
    "client_gone": "the client went away, or took nothing, before its answer was complete",
    "internal_error": "a defect of ours: refused",
}

EVENTS: Final[dict[str, str]] = {
    "login_succeeded": "a login has completed",
    "login_refused": "a login was refused, with the code of the failed check",
    "session_refreshed": "a session got new tokens",
    "refresh_refused": "the provider refused a refresh token",
    "refresh_postponed": "the provider did not answer a refresh; the session goes on while it is valid",
    "session_handed_over": "another host of the site got the session, in the browser that asked there",
    "handoff_refused": "a session was not handed over, with the code of the failed check",
    "session_signed_out": "a session was signed out by its user",
    "session_revoked": "a session was revoked",
    "provider_call_failed": "a call to a provider failed",
    "certificate_reloaded": "a certificate file has changed and is in use",
    "certificate_refused": "a certificate file has changed and can't be used; the last good one stays",
}

# What an operator should look at: logged as warnings. Whatever a stranger can cause at will is none.
WARNINGS: Final = frozenset({"certificate_refused", "provider_call_failed", "refresh_postponed"})
