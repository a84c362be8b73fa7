"""Prompts or full finetuning for a task not trained on yet: a prediction from fitted evidence, and its record."""
