"""Redis as the executors use it: one connection, no retries, allowlisted commands."""
