"""Who may use the CRM: users and their tokens."""
