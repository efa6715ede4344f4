"""What the model reaches, measured through its public API, by scripts that anyone can run again."""
