"""The network of the paper: frontend, encoders, attention, genre graph, losses."""
