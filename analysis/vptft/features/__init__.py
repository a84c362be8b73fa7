"""Features of image sets: extractors, extraction with its cache, and probes on frozen features."""
