"""How differences and p-values are printed."""

from __future__ import annotations


def number(value: float, unit: str, *, signed: bool = False) -> str:
    """A number as tables print it: two decimals of a percentage, three of an error.

    >>> number(0.1234, "%", signed=True)
    '+0.12'
    """
    decimals = 2 if unit == "%" else 3
    return f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"


def p_value(p: float | None) -> str:
    """A p-value with its sign of relation.

    >>> p_value(0.03125), p_value(1e-9)
    ('= 0.031', '< 0.0001')
    """
    if p is None:
        return ""
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"
