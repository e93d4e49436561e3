"""Methods: each stage supplies its networks and what one step does with a batch; the loop in ``loop.py`` does the rest."""
