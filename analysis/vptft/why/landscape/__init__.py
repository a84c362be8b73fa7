"""The loss around a solution."""
