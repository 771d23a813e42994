"""Pages for people who operate the CRM."""
