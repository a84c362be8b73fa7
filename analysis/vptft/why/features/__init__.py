"""What tuning leaves of the pretrained features, what it costs other tasks, and whether that predicts the gap (Y3)."""
