"""The contract: everything that crosses a process boundary. It imports no other package of cogenre."""
