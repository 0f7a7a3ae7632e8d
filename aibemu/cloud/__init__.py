"""The local Azure: resource ids, managed images, galleries and their versions, staging groups and run outputs."""
