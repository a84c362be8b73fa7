"""Second derivatives of the loss around a solution: eigenvalues, traces, spectral densities, sharpness."""
