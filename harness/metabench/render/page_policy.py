"""What a page may load, as the policy in its head says it."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256


def page_policy(style: str, script: str, *, asks_its_server: bool) -> str:
    """Allow a page its own style and script by their digests, and images that it holds itself.

    Args:
        style: its style sheet.
        script: its script.
        asks_its_server: whether the script may ask the server that the page came from.
    """
    server = "connect-src 'self'; " if asks_its_server else ""
    return (
        f"default-src 'none'; style-src 'sha256-{_digest(style)}'; "
        f"script-src 'sha256-{_digest(script)}'; {server}img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()
