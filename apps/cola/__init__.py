"""How does a network learn to tell which sentences are English?

Read in this order: `data` (files to sentences), `tokens` (sentences to ids), `lexicon`
and `grammar` (the embedded set that needs no download), `metrics`, `baselines`.
"""
