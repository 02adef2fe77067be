"""The digital twin of a board: its Verilated gateware, joined by its serial line to a pseudo-terminal."""
