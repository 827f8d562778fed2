"""How does a network learn to tell which sentences are English?

Read in this order: `data` (files to sentences), `reading` (sentences to ids), `lexicon`
and `grammar` (the embedded set that needs no download), `model`, `grams`, `train`,
`metrics`, `evaluate`, `explain`.
"""
