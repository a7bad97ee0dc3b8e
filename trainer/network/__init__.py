"""The network of the paper: frontend, encoders, attentions, genre graph and losses."""
