"""Demo data: a sales team, its leads and their histories."""
