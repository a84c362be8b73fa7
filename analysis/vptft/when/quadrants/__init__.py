"""The quadrants of Han et al. (2024, Figure 1): distance of the data against disparity of the objective."""
