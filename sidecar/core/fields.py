"""The fields of one head, read for the site that its Host names.

What is in here follows from a head's fields and its peer alone. Browsers send the very same fields on a
kept-alive connection again and again; an engine that notices hands over a `memo` with each such head, where
the gate keeps this value: the next request then costs neither the cleaning nor the search for its session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.core.errors import BadRequest
from sidecar.core.http import header_values
from sidecar.core.sessioncookie import recall

if TYPE_CHECKING:
    from sidecar.core.forwarded import Forwarded
    from sidecar.core.http import HeaderPair, RequestHead
    from sidecar.core.plan import Plan, RouteEntry, SitePlan, Way
    from sidecar.core.recurring import Recurring
    from sidecar.core.sessioncache import CachedSession
    from sidecar.core.state import State

__all__ = ["Fields", "find_site", "read_fields", "single_host"]


class Fields:
    """`kept` may go upstream, Host first, Cookie not among them; nobody changes the list.

    `host` is Host's value; `cookie` the joined Cookie fields as they came, ours included; `forwarded` what
    is known of where the head comes from. `entry` is the session that the cookies were found to hold (it is
    still to be asked whether it goes on), `others` what was left of them then without ours. `outgoing` is
    `kept` with those cookies, as it goes out on `route`: the same list each time, so that an engine may know
    its bytes. `ways` is what targets mean for `method`. A plain slots class because one is made for each
    head.
    """

    __slots__ = (
        "cookie",
        "entry",
        "forwarded",
        "has_upgrade",
        "host",
        "kept",
        "method",
        "others",
        "outgoing",
        "route",
        "site",
        "ways",
    )

    def __init__(
        self,
        site: SitePlan,
        forwarded: Forwarded,
        kept: list[HeaderPair],
        cookie: bytes | None,
        has_upgrade: bool,  # noqa: FBT001  likewise
    ) -> None:
        """Keep the parts; no session is known yet."""
        self.site = site
        self.host = kept[0][1].decode("ascii")
        self.forwarded = forwarded
        self.kept = kept
        self.cookie = cookie
        self.has_upgrade = has_upgrade
        self.entry: CachedSession | None = None
        self.others: bytes | None = None
        self.outgoing: list[HeaderPair] | None = None
        self.route: RouteEntry | None = None
        self.method = b""
        self.ways: Recurring[Way]

    def session_entry(self, state: State, now: float) -> CachedSession | None:
        """Return the session of these fields when nothing at all is to be done about it.

        An entry that was found for the same Cookie field before needs no second look at its bytes; its clocks
        and revocation do (S36).
        """
        entry = self.entry
        if entry is not None:
            if now >= entry.check_at or state.revocations.refuses(entry.session):
                return None
            entry.is_used = True
            entry.seen_at = now
            return entry
        if self.cookie is None:
            return None
        entry = self.entry = recall(self.site.site, state, self.cookie, now)
        if entry is not None:
            # At once: other cookies may have changed when the entry is met again.
            self.others = self.site.others_of(entry, self.cookie)
        return entry

    def choose(self, method: bytes) -> None:
        """Have `ways` be those of a method that is passed on."""
        self.ways = self.site.ways(self.host, method)
        self.method = method

    def leave_by(self, route: RouteEntry, others: bytes | None) -> list[HeaderPair]:
        """Return the fields that go upstream on `route`; `others` are the cookies that are not ours."""
        outgoing = self.kept if others is None else [*self.kept, (b"Cookie", others)]
        if route.host is not None:
            outgoing = [route.host, *outgoing[1:]]
        self.outgoing = outgoing
        self.route = route
        return outgoing


def find_site(plan: Plan, head: RequestHead) -> SitePlan | None:
    """Return the site that Host names, None when it is none of ours.

    Raises BadRequest("invalid_request") when there is not exactly one Host, or it is none.
    """
    headers = head.headers
    # Browsers send Host first, spelled as configured: one look-up for nearly every request. That it is the
    # only one is seen when the fields are cleaned.
    if headers and headers[0][0] == b"Host":
        site = plan.hosts.exact.get(headers[0][1])
        if site is not None:
            return site
    return plan.hosts.find(single_host(head))


def read_fields(site: SitePlan, head: RequestHead) -> Fields:
    """Clean the fields of a head (S43).

    Raises BadRequest: "invalid_request" for a second Host, "invalid_forwarded" for what a trusted proxy must
    not send.
    """
    forwarded = site.forwarded.direct.get(head.peer) or site.forwarded.find(head.peer, head.headers)
    kept, cookie, has_upgrade = site.names.clean(head.headers, is_trusted=forwarded.is_trusted)
    return Fields(site, forwarded, kept, cookie, has_upgrade)


def single_host(head: RequestHead) -> bytes:
    """Return the value of the one Host field. Raises BadRequest for none or several (RFC 9112 §3.2)."""
    hosts = header_values(head.headers, b"host")
    if len(hosts) != 1:
        raise BadRequest("invalid_request", "no Host" if not hosts else "more than one Host")
    return hosts[0]
