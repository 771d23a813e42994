"""The GraphiQL playground at /graphql, from our own files only."""
