"""What models reply in tests of AI tasks."""

CALL = {"title": "Call them", "reasoning": "They have waited for a week.", "dueDate": "2030-01-01"}
