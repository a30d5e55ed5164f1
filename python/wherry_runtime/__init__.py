"""The task side of wherry: runs notebooks, scripts and wheels inside an agent's box."""

from __future__ import annotations

__all__: list[str] = []
