"""What status, start and stop mean to compose, kubernetes, systemd or own commands."""
