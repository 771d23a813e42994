"""Leads: the people and companies that may buy."""
