"""The sections of a page: one module an analysis, one table of them; a page is a loop over it."""
