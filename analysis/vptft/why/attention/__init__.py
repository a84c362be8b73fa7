"""Where the model looks, prompts included."""
