"""Users: the people and programs that use the CRM."""
