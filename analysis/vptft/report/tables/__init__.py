"""Tables as files: what a page shows, for a paper."""
