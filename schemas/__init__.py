"""The contract: everything that crosses a process boundary. Imports no other room."""
