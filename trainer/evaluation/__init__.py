"""`cogenre-train evaluate`: the metrics of a checkpoint on a split, and the report on them."""
