"""MetaNAS: parameters, meta-step, joint inner loop, soft pruning and retraining."""
