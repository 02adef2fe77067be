"""Ways to a board: the serial line, and the link that makes it reliable."""
