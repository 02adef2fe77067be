"""Benchmarks of networks on the accelerator and of its simulators: `systolith bench`."""
