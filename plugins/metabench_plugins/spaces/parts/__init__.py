"""Parts that networks share: primitives, mixed operations, cells, the supernet."""
