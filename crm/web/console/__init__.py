"""Pages for people who watch over the CRM."""
