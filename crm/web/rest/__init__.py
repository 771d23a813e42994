"""REST: stored operations at addresses."""
