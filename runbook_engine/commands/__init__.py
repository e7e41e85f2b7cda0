"""Running one command, here or over SSH, so that nothing of it survives its deadline."""
