"""Does full finetuning close the gap as data grow: lines in log n, where they cross zero, learning curves."""
