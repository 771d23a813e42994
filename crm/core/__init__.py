"""Foundations without a database: models, errors, identity, validation, settings, logs. Imports no domain."""
