"""MetaNAS: parameters, meta-step, joint inner loop, soft pruning and re-training."""
