"""What is measured of jobs on clusters: a whole hub, a real Slurm behind a real sshd, the bare commands beside it."""
