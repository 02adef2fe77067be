"""Systolith: an open int8 neural-network accelerator, its simulator, compiler and driver."""
