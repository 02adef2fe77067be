"""`systolith asic`: a core, or a block of it, in standard cells."""
