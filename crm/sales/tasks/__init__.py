"""Tasks: what is to be done about a lead."""
