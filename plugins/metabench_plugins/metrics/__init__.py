"""Metrics: how the predictions for a query set are scored."""
