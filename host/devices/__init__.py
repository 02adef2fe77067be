"""Devices: everything that can execute a network, from the golden model to a board."""
