"""Leads, and what happens with them."""
