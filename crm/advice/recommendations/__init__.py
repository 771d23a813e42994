"""Recommendations: what to do next about a lead, and why."""
