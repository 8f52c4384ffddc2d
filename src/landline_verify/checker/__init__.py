"""What is judged: the verdict on a history. It reads nothing else, and knows the contract alone."""
