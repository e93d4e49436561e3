"""`dorian batch`: which photos there are, where their pictures go, what was done before, and the report."""
