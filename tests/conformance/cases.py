"""The conformance cases: raw bytes of one connection in, what the client and the upstream see.

`runner.check` runs one against an engine. What it holds:

1.  `setting.build_runtime(upstream)` is served, with a real upstream that records each request whole and
    answers as `Case.upstream` says, else 200 with a short body.
2.  `Case.request` is sent at once, the session cookie filled in.
3.  Each final status is in the set at its place in `answers`; of 1xx statuses only `interim` may come before
    (a server may leave out 100 when it has the content already, RFC 9110 §10.1.1). Where `closes`, the
    connection ends after the last answer, and nothing else is served on it.
4.  The upstream has received exactly the requests in `arrives`, complete and in order; where `arrives` is
    empty, no complete request at all.
5.  No byte of any `never` has reached the upstream.
6.  The last answer has all of `answer_has` and none of `answer_lacks`.

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
