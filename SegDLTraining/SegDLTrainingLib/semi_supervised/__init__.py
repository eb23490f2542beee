"""Training with few labels (report 003, chapter 5.3): boxes, pseudo-labels by similarity, mean teacher."""
