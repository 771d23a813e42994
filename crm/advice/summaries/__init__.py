"""Summaries of leads: history, state and next step."""
