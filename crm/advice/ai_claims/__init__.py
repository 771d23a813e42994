"""AI claims: leases on asking a model about a lead, so that two requests do not ask the same."""
