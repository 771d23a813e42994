"""Statistics of leads."""
