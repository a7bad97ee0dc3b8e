"""What `cogenre-train evaluate` finds of a checkpoint, and how it shows it."""
