"""What is told while files are fetched and packed."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as work proceeds, with what is being done, how much is done, and of how much."""
