"""What does a network look at in a picture? Its gradients show.

Read `squeezenet`.
"""
