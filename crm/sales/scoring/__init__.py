"""Scores: how hot each lead is, 0 to 100, and why."""
