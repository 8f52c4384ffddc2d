"""What is recorded: the events of a run, in the order of time, in memory and in a file."""
