"""What log and store hold of a run in the end, read with their own clients."""
