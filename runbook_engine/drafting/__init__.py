"""A first playbook, and its first test, from answers, an alert or a recorded session. Pure: runs and asks nothing.

What an alert or a session says is data: it is masked, tamed and quoted, and never becomes a template or a key.
"""
