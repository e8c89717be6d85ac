"""`doorward demo`: gate, embedded provider and a small application in one process, on loopback.

Owns: the demo's application (what a person sees behind the door), its configuration, and the story that the
terminal tells. Depends on: everything a real installation uses, by the same configuration text, plus
`devidp`. Leaves to others: all that it shows.
"""

from __future__ import annotations

from sidecar.demo.application import DemoApplication
from sidecar.demo.running import Demo, run_demo

__all__ = ["Demo", "DemoApplication", "run_demo"]
