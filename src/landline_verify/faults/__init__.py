"""Servers of our own, and what is done to harm them."""
