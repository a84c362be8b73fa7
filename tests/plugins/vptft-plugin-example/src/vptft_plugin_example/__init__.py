"""An example of a package that adds to vptft-analyze by entry points, one file each."""
