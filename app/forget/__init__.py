"""`marquee forget`: remove what is stored of one user."""
