"""The people who use the CRM: owners, assignees, and who did what."""
