"""Who connects: tokens are checked here, and nowhere else."""
