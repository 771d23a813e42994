"""Tasks: things to do about a lead."""
