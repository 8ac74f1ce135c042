"""Scripts that run in the peers' own environment. They import nothing of the project and speak through files."""
