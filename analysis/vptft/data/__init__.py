"""Images, tasks and where they come from: the embedded suite, VTAB-1k, FGVC and any folder."""
