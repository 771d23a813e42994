"""Changes: what happened to records, as a timeline and live."""
