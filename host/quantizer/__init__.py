"""Post-training quantisation, and the step that turns a float graph with known scales into an integer graph."""
