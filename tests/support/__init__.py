"""What the tests share: real servers as child processes, journals, raw clients."""
