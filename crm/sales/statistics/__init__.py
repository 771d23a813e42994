"""Aggregates of leads."""
