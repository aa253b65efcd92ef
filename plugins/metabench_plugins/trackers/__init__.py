"""Trackers: services and files that runs are passed on to."""
