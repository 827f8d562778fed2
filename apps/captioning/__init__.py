"""How does a recurrent network learn to describe pictures?

Read in this order: `data` (files to arrays), `model` (the network), `train`,
`sample`, `metrics`, `evaluate`; `shapes` draws the embedded picture set.
"""
