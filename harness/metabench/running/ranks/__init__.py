"""One run in several processes: rank 0 leads, and the others do their part of what it says.

The leader alone plans, writes, shows and decides, so that there is nothing on which processes could
disagree. The others, the followers, build the same learner. The leader tells them which meta-step
is next, and all of them make it: each runs its own tasks of the meta-batch, and the outer gradient
is summed over all (:class:`metabench.Ranks`). Chunks of episodes of an evaluation are shared too.
"""
