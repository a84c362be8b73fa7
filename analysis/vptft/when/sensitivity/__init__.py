"""Does the verdict survive the design choices: specifications, what varies the gap, and what a search is worth."""
