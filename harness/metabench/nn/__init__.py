"""Networks with a task axis: layers, batch norm, losses, and who may see a query set.

Read ``layers`` first, then ``batch_norm``, ``norm_mlp``, ``losses``, ``scores`` and
``transduction``.
"""
