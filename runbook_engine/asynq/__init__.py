"""asynq's data as it lies in Redis: reading it, and the bounded operations that mend it."""
