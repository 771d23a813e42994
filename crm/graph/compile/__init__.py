"""From an operation's text to SQL that returns the finished JSON."""
