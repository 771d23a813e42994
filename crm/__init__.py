"""A GraphQL-first CRM backend."""
