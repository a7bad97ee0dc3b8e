"""The paper's method: network, losses, genre graph, frontend, data and fit."""
