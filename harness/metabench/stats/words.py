"""How p-values and degrees of freedom are printed."""

from __future__ import annotations


def p_value(p: float | None) -> str:
    """A p-value with its sign of relation.

    >>> p_value(0.03125), p_value(1e-9)
    ('= 0.031', '< 0.0001')
    """
    if p is None:
        return ""
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"


def p_entry(p: float | None) -> str:
    """A p-value in a column of p-values.

    >>> p_entry(0.03125), p_entry(1e-9), p_entry(None)
    ('0.031', '< 0.0001', '')
    """
    return p_value(p).removeprefix("= ")


def degrees_of_freedom_in_words(degrees: float) -> str:
    """Degrees of freedom of Student's t; from 1,000 on, the normal distribution is as good.

    >>> degrees_of_freedom_in_words(2.04), degrees_of_freedom_in_words(4e28)
    ('2.0', '> 1000')
    """
    return "> 1000" if degrees > 1000 else f"{degrees:.1f}"
