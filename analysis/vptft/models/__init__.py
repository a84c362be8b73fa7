"""Backbones, prompts, the token layout and the tuned model."""
