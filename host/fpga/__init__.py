"""From a board and a configuration to a bitstream: synthesis, placement, routing, and what came out of them."""
