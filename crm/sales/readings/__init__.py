"""Readings: what an interaction's entry says, read once when it is written."""
