"""The judge: gives a verdict on a history. It reads nothing else, and knows the contract alone."""
