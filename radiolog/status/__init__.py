"""`radiolog status`: one look at a site, what it shows to people, and what to programs."""
