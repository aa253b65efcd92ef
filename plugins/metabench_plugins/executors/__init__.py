"""Executors that do not run on this machine alone."""
