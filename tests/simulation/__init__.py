"""Servers, their log, store and hints, clients and faults: a whole world, by seed."""
