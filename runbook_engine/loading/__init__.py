"""From YAML text with positions to a checked playbook: what `loader` is made of."""
