"""Design-space exploration: what networks cost on many configurations, by the cycle model."""
