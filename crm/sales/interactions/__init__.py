"""Interactions: the calls, emails and meetings with a lead."""
