"""The page of a study: words, shapes and a template over saved results."""
