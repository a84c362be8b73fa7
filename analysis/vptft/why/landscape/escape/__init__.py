"""The escape test: what new dimensions let an equal budget remove, against other new dimensions of equal size."""
