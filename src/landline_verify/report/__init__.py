"""The page at the end of a run, as text and as HTML."""
