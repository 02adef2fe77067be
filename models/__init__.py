"""Golden integer operators in NumPy, quantisation arithmetic and the network zoo."""
