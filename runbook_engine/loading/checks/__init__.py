"""What a playbook of the right shape can still get wrong, found before it runs. Each module checks one subject."""
