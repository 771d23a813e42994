"""Transport: GraphQL, REST and pages, over HTTP and WebSockets."""
