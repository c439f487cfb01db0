"""`signbind serve`: a translator behind HTTP, and a page for people."""
