"""What search spaces share: primitives, mixed operations, cells, the supernet."""
