"""Synthesizable hardware: configuration, instruction set and Amaranth RTL."""
