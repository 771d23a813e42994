"""Search across leads, tasks and interactions."""
