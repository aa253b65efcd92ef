"""What papers print and say, compared with our runs.

Read ``reference`` (a printed table as data), ``table`` (ours next to it), ``report`` (makes it),
``verdict`` (the rule), ``deviations`` (why a run is not comparable) and ``claims``.
"""
