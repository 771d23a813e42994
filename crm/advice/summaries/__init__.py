"""Summaries: what happened with a lead, where it stands, what is next."""
