"""What every domain stands on: database, errors, events, identity. Knows no domain."""
