"""PostgreSQL: connections, transactions with their events, statements with their policies, the event stream."""
