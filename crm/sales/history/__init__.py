"""Changes of records: timelines, and a live stream."""
