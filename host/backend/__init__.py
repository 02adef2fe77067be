"""Compiler backend: lowering, tiling, memory planning, instruction emission and dependency tokens."""
