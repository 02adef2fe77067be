"""Frontends: read a model file into the graph IR."""
