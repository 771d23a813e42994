"""Every way in over HTTP and WebSockets."""
