"""Methods, one training loop, and the standard studies."""
