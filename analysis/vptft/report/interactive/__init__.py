"""What can be looked at by hand on a page: numbers in, data for a control out. The controls are pages/scripts."""
