"""Standard cells: synthesis to a Liberty library, timing and power with OpenSTA, memories as macros."""
