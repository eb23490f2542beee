"""The grid, images, and reading and writing them."""
