"""The conformance cases: raw bytes of one connection in, what the client and the upstream see.

How an engine's test runs one:

1.  Serve `setting.build_runtime(upstream)`, with a real upstream that records each request whole (line,
    fields, body) and answers as `Case.upstream` says, else 200 with a short body.
2.  Open one connection, send `fill_in(case.request, cookie)` at once, and read all answers (skipping none of
    1xx), until as many final ones have come as `case.answers` has, or the connection ends.
3.  Each final status must be in the set at its place in `answers`; `interim` are the 1xx statuses before it.
    Where `closes`, the connection must end after the last answer without another request being served.
4.  The upstream must have received exactly the requests in `arrives`, complete and in order; where `arrives`
    is empty, no complete request at all, on any connection.
5.  No recorded byte of the upstream may contain any of `never`.
6.  The last answer has all of `answer_has` (names in any case, exact values) and none of `answer_lacks`.

`in_head` tells that the gate alone decides the case from one head that every parser accepts; those cases are
also run against the core (`test_cases.py`), so that an expectation is never an engine's own invention.
"""

from __future__ import annotations

from tests.conformance.case import Arrival, Case
from tests.conformance.heads import COOKIES, HYGIENE, SESSIONS
from tests.conformance.targets import FORWARDED, HOSTS, PATHS
from tests.conformance.wires import SMUGGLING, UPGRADES

__all__ = ["CASES", "Arrival", "Case"]

CASES: tuple[Case, ...] = (
    *HYGIENE,
    *COOKIES,
    *SESSIONS,
    *PATHS,
    *HOSTS,
    *FORWARDED,
    *UPGRADES,
    *SMUGGLING,
)
