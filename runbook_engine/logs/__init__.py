"""What a log says: its lines read, counted and told apart."""
