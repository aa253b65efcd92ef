"""How p-values are printed."""

from __future__ import annotations


def p_value(p: float | None) -> str:
    """A p-value with its sign of relation.

    >>> p_value(0.03125), p_value(1e-9)
    ('= 0.031', '< 0.0001')
    """
    if p is None:
        return ""
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"
