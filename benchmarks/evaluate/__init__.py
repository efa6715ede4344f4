"""The public protocols, for whoever has the data: one module a protocol, on the sets' own files."""
