"""What papers print and say, held against our runs.

Read ``reference`` (a printed table as data), ``table`` (ours beside it), ``report`` (makes it),
``verdict`` (the rule), ``deviations`` (what keeps a run from standing there) and ``claims``.
"""
