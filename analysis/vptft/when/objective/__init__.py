"""How far a task's objective is from what a backbone was pretrained for, measured on frozen features."""
