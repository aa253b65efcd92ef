"""From a planned run to a finished record.

Read ``run`` (one run from beginning to end), ``build`` (its learner and sampler) and ``loops``
(the two loops); ``executors`` run many.
"""
