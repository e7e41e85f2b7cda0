"""SQL as text, and the sessions that run it on PostgreSQL."""
