"""The assembly of a serving process."""

from __future__ import annotations

import gc

from sidecar.supervisor.serving import settle


def test_what_start_up_made_is_not_looked_through_again() -> None:
    before = gc.get_freeze_count()
    settle()
    try:
        assert gc.get_freeze_count() > before
        assert len(gc.get_objects()) < 10_000
    finally:
        gc.unfreeze()
