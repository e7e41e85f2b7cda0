"""What the kernel of this machine says of sockets, processes and resources. It only reads; what is hidden is none."""
