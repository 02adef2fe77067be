"""Simulation of the accelerator: instruction-level machine, RTL testbenches and the Verilated core."""
