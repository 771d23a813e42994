"""The GraphiQL playground at /graphql, served without files of other hosts."""
