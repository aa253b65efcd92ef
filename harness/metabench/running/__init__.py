"""From a cell to a finished record.

Read ``cell`` (one run from beginning to end), ``build`` (its learner and sampler) and ``loops``
(the two loops); ``executors`` run many.
"""
