"""Activities: what happened with a lead, in the order in which it happened."""
