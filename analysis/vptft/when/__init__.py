"""When one method beats the other: data distributions, objectives, quadrants."""
