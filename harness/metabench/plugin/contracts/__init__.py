"""What plugins implement, and what they are given.

Read ``episode`` (a batch of tasks), ``learner``, ``conditions``, ``space`` (a network),
``strategy``, ``architecture`` (choices as tensors), ``genotype``, ``data`` and ``stamp``.
"""
