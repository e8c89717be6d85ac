"""Carries out what flows ask for: calls to providers, one-time claims, shared work, stores, events."""

from __future__ import annotations

from sidecar.effects.runner import Runner

__all__ = ["Runner"]
