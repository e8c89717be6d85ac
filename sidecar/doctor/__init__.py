"""`doorward doctor --ingress`: what a live ingress lets through that it must not.

Owns: the probes and what their answers mean. Depends on: the core's table of identity headers. Leaves to
others: printing (`sidecar.cli.doctor`), and everything about Doorward itself (`doorward check`).

Theory of operation. The doctor stands where a browser does and knows nothing but the ingress's URL. It first
asks for the protected path as a browser without a session would: as a page, as a script, as a WebSocket
(`examination`). How Doorward refuses those is what every probe is held against: a probe asks for the same
path with something added that must change nothing (`probes`), and an answer that is no refusal of Doorward's
is a finding (`judging`). With an application's page that shows the fields which it got (`echo`) and a
session, it also sees what arrives behind the ingress.

It is safe to point at production: GET, HEAD, OPTIONS and handshakes only, nothing that a rule or an
application could take for a change, some fifty requests one after another, each bounded in time and size
(`wire`). It follows no redirect, and the session's cookie goes to the ingress alone and into no output.
"""

from __future__ import annotations

from sidecar.doctor.examination import Examination, Report, examine
from sidecar.doctor.findings import Finding, Verdict
from sidecar.doctor.wire import NotExaminedError, parse_url

__all__ = ["Examination", "Finding", "NotExaminedError", "Report", "Verdict", "examine", "parse_url"]
