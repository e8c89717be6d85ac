"""`doorward dev`: the gate in front of an application that somebody is working on, on their own machine.

Owns: what a developer says on the command line as a configuration, being somebody without signing in, rules
that are read again when they change, recordings of decisions and their replay under other rules. Depends on:
everything a real installation uses, plus `devidp` and the narrator of `demo`. Leaves to others: what is
decided (`core`), how bytes travel (`engines`).

    options + files -> configuration (Runtime) -> DevApplication around the gate -> an engine
    recording (a file of flows) -> replay (the same core under another configuration)

What keeps it apart from the real thing (S72): sessions are sealed with a key that lives and dies with the
process, each answer carries the development banner, and whatever lets one be anybody listens on loopback
only.
"""

from __future__ import annotations
