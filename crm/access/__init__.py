"""Users of the CRM and their tokens."""
