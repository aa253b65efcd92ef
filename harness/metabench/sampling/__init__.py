"""From data to batches of tasks.

Read ``sampler`` (which episode when), ``sources`` (how one is drawn) and ``checks`` (whether the
data can serve it).
"""
