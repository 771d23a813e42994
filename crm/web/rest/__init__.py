"""REST: named operations at addresses."""
