"""From runs and names to results: load what is saved, measure what is not, save it.

Each function makes one result from things on disk. A saved result made from the same inputs and settings is loaded,
so an interrupted report goes on where it stopped, and deleting one result remakes just that.
"""
