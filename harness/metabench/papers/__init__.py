"""What papers print and say, compared with our runs.

Read ``reference`` (a printed table as data), ``conditions`` (what its source states of a protocol),
``table`` (ours next to it), ``report`` (makes it), ``verdict`` (the rule), ``deviations`` and
``protocols`` (why a run is not comparable) and ``claims``.
"""
