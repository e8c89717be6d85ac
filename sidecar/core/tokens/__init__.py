"""What providers tell and what is checked of it: metadata, keys, ID tokens, UserInfo, token answers."""

from __future__ import annotations
