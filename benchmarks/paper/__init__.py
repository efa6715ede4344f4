"""What the paper shows, reproduced with the repository's small teachers and its small student."""
