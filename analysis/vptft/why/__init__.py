"""Why one method beats the other: overfitting, landscape, attention."""
